"""RFC 6455 beyond the Autobahn testsuite: every cut, every close code, every offer."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from wsservice.client import ClientProtocol
from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol

from ..support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Connecting,
    Recorder,
    Served,
    close_payload,
    frame,
)

VALID_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
EDGES = [0, 1, 998, *range(999, 1020), 1999, 2000, 2999, 3000, 3001, 3999, 4000, 4999, 5000, 65535]


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-12)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


FRAGMENTED = (
    frame(TEXT, "aé".encode()[:2], fin=False)
    + frame(PING, b"!")
    + frame(0, b"", fin=False)
    + frame(0, "é€".encode()[1:])
)


@pytest.mark.parametrize("cut", range(len(FRAGMENTED) + 1))
def test_a_fragmented_message_may_be_cut_anywhere(cut: int) -> None:
    client = Served(EchoServerProtocol).connect().open()
    client.send(FRAGMENTED[:cut])
    client.send(FRAGMENTED[cut:])
    assert client.frames() == [(PONG, b"!"), (TEXT, "aé€".encode())]


def test_a_fragmented_message_may_come_octet_by_octet() -> None:
    client = Served(EchoServerProtocol).connect().open()
    for octet in FRAGMENTED:
        client.send(bytes((octet,)))
    assert client.frames() == [(PONG, b"!"), (TEXT, "aé€".encode())]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_compressed_fragmented_message_may_be_cut_anywhere(cut: int) -> None:
    client = Served(EchoServerProtocol, compression=True).connect()
    head = client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    assert b"permessage-deflate" in head
    data = deflated(b"compressed " * 9)
    octets = frame(TEXT | 0x40, data[:5], fin=False) + frame(PING) + frame(0, data[5:])
    client.send(octets[:cut])
    client.send(octets[cut:])
    (pong, answer) = client.frames()
    assert pong == (PONG, b"")
    inflated = zlib.decompressobj(-15).decompress(answer[1] + b"\x00\x00\xff\xff")
    assert inflated == b"compressed " * 9


@pytest.mark.parametrize("code", EDGES)
def test_a_close_code_is_echoed_if_it_may_be_sent_and_else_is_1002(code: int) -> None:
    client = Served().connect().open()
    client.close(code)
    ((opcode, payload),) = client.frames()
    assert opcode == CLOSE
    assert payload[:2] == close_payload(code if code in VALID_CODES else 1002)


@pytest.mark.parametrize("code", EDGES)
def test_a_client_judges_close_codes_the_same_way(code: int) -> None:
    server = Connecting().server.accept()
    server.send(frame(CLOSE, close_payload(code), masked=False))
    ((opcode, payload),) = server.frames()
    assert opcode == CLOSE
    assert payload[:2] == close_payload(code if code in VALID_CODES else 1002)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", b""),
        (b"\x03", close_payload(1002)),
        (close_payload(1000, b"x" * 123), close_payload(1000, b"x" * 123)),
        (close_payload(1000, b"\xff"), close_payload(1007)),
        (close_payload(1000, "é".encode()[:1]), close_payload(1007)),
    ],
)
def test_a_close_payload_is_empty_or_a_code_and_text(payload: bytes, code: bytes) -> None:
    client = Served().connect().open()
    client.send(frame(CLOSE, payload))
    ((_, answer),) = client.frames()
    assert answer.startswith(code)
    assert bool(answer) is bool(code)


def test_nothing_is_answered_after_a_close() -> None:
    client = Served(EchoServerProtocol).connect().open()
    client.send(frame(CLOSE, close_payload(1000)) + frame(PING) + frame(TEXT, b"x"))
    assert client.frames() == [(CLOSE, close_payload(1000))]


def test_a_large_message_may_come_in_fragments_of_4_kib() -> None:
    client = Served(Recorder, max_message_size="5MiB").connect().open()
    part = b"x" * 4096
    octets = frame(BINARY, part, fin=False) + frame(0, part, fin=False) * 1278 + frame(0, part)
    client.send(octets)
    assert client.protocol.seen == [(part * 1280, True)]
    client.send(frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 1280)
    ((_, payload),) = [each for each in client.frames() if each[0] == CLOSE]
    assert payload == close_payload(1008, b"too many fragments")


DECLINED = [
    "permessage-deflate; nonsense",
    "permessage-deflate; nonsense=1",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=x",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=10; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-bzip2",
    "x-webkit-deflate-frame",
]


def extensions(offer: str, *more: str) -> str | None:
    """Return a server's answer to an offer, None if it accepts no extension."""
    client = Served(compression=True).connect()
    lines = [f"Sec-WebSocket-Extensions: {each}" for each in (offer, *more)]
    head = client.ask("/", *lines).partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 101 ")
    found = [line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Extensions")]
    return found[0].partition(": ")[2] if found else None


@pytest.mark.parametrize("offer", DECLINED)
def test_an_offer_that_makes_no_sense_is_declined_and_the_next_one_taken(offer: str) -> None:
    assert extensions(offer) is None
    assert extensions(f"{offer}, permessage-deflate") == "permessage-deflate"
    assert extensions(offer, "permessage-deflate") == "permessage-deflate"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("Permessage-Deflate", "permessage-deflate"),
        (
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate"),
        (
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=10",
        ),
        (
            'permessage-deflate; server_max_window_bits="15"',
            "permessage-deflate; server_max_window_bits=15",
        ),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=12",
        ),
    ],
)
def test_an_offer_is_accepted_within_our_bounds(offer: str, answer: str) -> None:
    assert extensions(offer) == answer


@pytest.mark.parametrize("bits", [9, 10, 11, 12])
def test_a_client_that_asks_for_a_smaller_window_is_not_given_a_larger(bits: int) -> None:
    answer = extensions(f"permessage-deflate; client_max_window_bits={bits}") or ""
    assert answer in ("permessage-deflate", f"permessage-deflate; client_max_window_bits={bits}")


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; nonsense",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate, permessage-deflate",
        "permessage-bzip2",
    ],
)
def test_a_client_fails_a_server_whose_answer_makes_no_sense(answer: str) -> None:
    connecting = Connecting(compression=True)
    connecting.server.accept(f"Sec-WebSocket-Extensions: {answer}")
    assert connecting.server.aborted


class Choosing(ServerProtocol):
    """Speaks the first subprotocol that it knows."""

    def onConnect(self, request: Any) -> str | None:
        return next((each for each in request.protocols if each in ("v1", "v2")), None)


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        (["v1"], "v1"),
        (["v2, v1"], "v2"),
        (["v3,v1"], "v1"),
        (["v3", "v2", "v1"], "v2"),
        (["v3"], None),
        ([], None),
        (["V1"], None),
    ],
)
def test_a_subprotocol_is_chosen_among_those_offered(
    offered: list[str], spoken: str | None
) -> None:
    lines = [f"Sec-WebSocket-Protocol: {each}" for each in offered]
    head = Served(Choosing).connect().ask("/", *lines).decode()
    assert head.startswith("HTTP/1.1 101 ")
    assert (f"\r\nSec-WebSocket-Protocol: {spoken}\r\n" in head) is (spoken is not None)
    assert head.count("Sec-WebSocket-Protocol") == (spoken is not None)


@pytest.mark.parametrize(("chosen", "opened"), [("v1", True), ("v2", True), ("v3", False)])
def test_a_client_takes_only_a_subprotocol_that_it_offered(chosen: str, opened: bool) -> None:
    connecting = Connecting(ClientProtocol, subprotocols=["v1", "v2"])
    connecting.server.accept(f"Sec-WebSocket-Protocol: {chosen}")
    assert connecting.server.aborted is not opened


def test_binary_and_text_stay_what_they_are() -> None:
    client = Served(EchoServerProtocol).connect().open()
    client.send(frame(BINARY, b"\xff") + frame(TEXT, b"x") + frame(BINARY, b""))
    assert client.frames() == [(BINARY, b"\xff"), (TEXT, b"x"), (BINARY, b"")]
