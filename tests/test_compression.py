from __future__ import annotations

import pytest
from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.compress import (
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
)

from wsservice.compression import (
    acceptable,
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


def extension() -> PerMessageDeflate:
    accept = server_accept([PerMessageDeflateOffer()])
    made: PerMessageDeflate = PerMessageDeflate.create_from_offer_accept(True, accept)
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
