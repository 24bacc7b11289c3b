from __future__ import annotations

import zlib

import pytest
from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
)
from hypothesis import given
from hypothesis import strategies as st

from wsservice.protocol.compression import (
    Deflate,
    acceptable,
    chosen,
    client_accept,
    client_offers,
    deflate,
    inflate,
    server_accept,
)

DEFLATE = "permessage-deflate"


def test_offers_that_make_sense_are_kept_in_order() -> None:
    offers = [(DEFLATE, {"client_max_window_bits": [True]}), (DEFLATE, {})]
    assert acceptable(offers) == offers


@pytest.mark.parametrize(
    "offer",
    [
        ("permessage-snappy", {}),
        (DEFLATE, {"unknown": [True]}),
        (DEFLATE, {"server_max_window_bits": ["99"]}),
        (DEFLATE, {"server_max_window_bits": ["x"]}),
        (DEFLATE, {"client_no_context_takeover": [True, True]}),
    ],
)
def test_an_offer_that_does_not_is_declined(offer: tuple[str, dict[str, object]]) -> None:
    assert acceptable([offer, (DEFLATE, {})]) == [(DEFLATE, {})]


def test_a_server_takes_the_first_offer_within_its_bounds() -> None:
    offers = [PerMessageDeflateOffer(request_max_window_bits=10), PerMessageDeflateOffer()]
    accept = server_accept(offers)
    assert accept is not None
    assert accept.offer is offers[0]
    assert (accept.window_bits, accept.mem_level) == (10, 4)


def test_without_an_offer_nothing_is_accepted() -> None:
    assert server_accept([]) is None


def test_a_client_takes_what_the_server_chose_within_its_own_bounds() -> None:
    (offer,) = client_offers()
    assert offer.EXTENSION_NAME == DEFLATE
    accept = client_accept(PerMessageDeflateResponse(0, False, 9, False))
    assert accept is not None
    assert (accept.window_bits, accept.mem_level) in {(9, 4), (12, 4)}
    assert client_accept(object()) is None


def extension() -> Deflate:
    accept = server_accept([PerMessageDeflateOffer()])
    made: Deflate = Deflate.create_from_offer_accept(True, accept)
    return made


@pytest.mark.parametrize("payload", [b"", b"hello", b"x" * 100])
def test_what_was_deflated_is_inflated(payload: bytes) -> None:
    both = extension()
    for limit in (0, 100):
        assert inflate(both, deflate(payload, 12), limit) == payload


def test_no_more_than_one_octet_over_the_limit_is_inflated() -> None:
    assert inflate(extension(), deflate(b"x" * 101, 12), 100) == b"x" * 101
    with pytest.raises(PayloadExceededError):
        inflate(extension(), deflate(b"x" * 102, 12), 100)


def test_what_makes_no_sense_is_not_inflated() -> None:
    with pytest.raises(PayloadCorruptError):
        inflate(extension(), b"\xff\xff\xff", 0)


class TestChosen:
    """The extensions that a server chose, by its answer (RFC 6455, 9.1; RFC 7692, 7.1)."""

    @pytest.mark.parametrize(
        ("header", "parameters"),
        [
            ("permessage-deflate", {}),
            ("permessage-deflate;server_no_context_takeover", {"server_no_context_takeover": True}),
            ("permessage-deflate; server_max_window_bits=8", {"server_max_window_bits": "9"}),
            ("permessage-deflate; client_max_window_bits=8", {"client_max_window_bits": "9"}),
            ("Permessage-Deflate; Server_Max_Window_Bits=8", {"server_max_window_bits": "9"}),
            ('permessage-deflate; server_max_window_bits="8"', {"server_max_window_bits": "9"}),
            ('permessage-deflate; server_max_window_bits="10"', {"server_max_window_bits": "10"}),
            ('permessage-deflate;server_max_window_bits="1\\5"', {"server_max_window_bits": "15"}),
            (
                ", permessage-deflate\t; client_max_window_bits = 10 ;server_max_window_bits=15 ,,",
                {"client_max_window_bits": "10", "server_max_window_bits": "15"},
            ),
        ],
    )
    def test_it_is(self, header: str, parameters: dict[str, object]) -> None:
        wanted = {name: [value] for name, value in parameters.items()}
        assert chosen(header) == [("permessage-deflate", wanted)]

    def test_a_comma_may_be_quoted(self) -> None:
        assert chosen('a; b="x, y; \\"z\\""; b, c') == [
            ("a", {"b": ['x, y; "z"', True]}),
            ("c", {}),
        ]

    @pytest.mark.parametrize("header", ["", " ", ",", " , \t,"])
    def test_nothing_is_chosen(self, header: str) -> None:
        assert chosen(header) == []

    @pytest.mark.parametrize(
        "header",
        ["a b", "a;", "a; =1", "a; b=", 'a; b="c', "a; b=c d", "(a)", "a;;b", "\x85", "a\xa0"]
        + [
            f"permessage-deflate; {name}{value}"
            for name in ("server_max_window_bits", "client_max_window_bits")
            for value in ("", "=7", "=16", "=08", "=1_0", "=+9", '=""', '=" 9"')
        ],
    )
    def test_it_makes_no_sense(self, header: str) -> None:
        with pytest.raises(ValueError, match=r"^its "):
            chosen(header)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"ab" * 300, bytes(700)]), max_size=60))
def test_what_a_window_of_9_bits_makes_is_read_by_one_of_8(pieces: list[bytes]) -> None:
    """A server that keeps 256 octets only (RFC 7692, 7.1.2.2)."""
    payload = b"".join(pieces) * 3
    deflated = deflate(payload, 9) + b"\0\0\xff\xff"
    inflater, inflated = zlib.decompressobj(-8), b""
    for at in range(0, len(deflated), 7):  # in pieces, so that it has nothing but its window
        rest = deflated[at : at + 7]
        while rest:
            inflated += inflater.decompress(rest, 50)
            rest = inflater.unconsumed_tail
    assert inflated + inflater.flush() == payload
