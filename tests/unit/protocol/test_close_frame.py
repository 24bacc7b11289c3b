"""close_frame.py: a whole close frame is read as Autobahn reads one that came in parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...support import CLOSE, PING, TEXT, Client, Recorder, Served, close_payload, frame

KEYS = st.binary(min_size=4, max_size=4)
PAYLOADS = st.one_of(
    st.binary(max_size=130),
    st.builds(
        lambda code, reason: close_payload(code, reason.encode()[:123]),
        st.integers(0, 5000),
        st.text(max_size=60),
    ),
)


def masked(payload: bytes, key: bytes) -> bytes:
    plain = frame(CLOSE, payload)
    head = plain[: len(plain) - len(payload) - 4]
    return head + key + bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def open_client() -> Client:
    return Served(Recorder).connect().open()


def seen(chunks: list[bytes]) -> Any:
    client = open_client()
    for chunk in chunks:
        client.send(chunk)
    ended = client.dropped, client.aborted
    connection = client.protocol
    client.lose()
    codes = connection.remoteCloseCode, connection.remoteCloseReason, connection.localCloseCode
    return client.taken(), ended, connection.seen, codes, connection.wasClean, connection.state


@given(PAYLOADS, KEYS)
def test_whole_or_in_parts_it_is_the_same(payload: bytes, key: bytes) -> None:
    octets = masked(payload, key)
    assert seen([octets]) == seen([octets[:1], octets[1:-1], octets[-1:]])


@pytest.mark.parametrize(
    "octets",
    [
        frame(CLOSE, b"\x03"),
        frame(CLOSE, close_payload(1000), fin=False),
        frame(CLOSE, close_payload(1000), masked=False),
        frame(CLOSE | 0x10, close_payload(1000)),
        frame(CLOSE, close_payload(1000) + b"x" * 124),
    ],
    ids=["one octet", "a fragment", "not masked", "an extension", "too long"],
)
def test_one_that_is_wrong_is_answered_with_1002(octets: bytes) -> None:
    client = open_client()
    client.send(octets)
    [(opcode, payload)] = client.frames()
    assert (opcode, payload[:2]) == (CLOSE, close_payload(1002))


def test_in_the_middle_of_a_message() -> None:
    client = open_client()
    client.send(frame(TEXT, b"a", fin=False) + frame(PING) + frame(CLOSE, close_payload(3000)))
    assert client.frames()[-1] == (CLOSE, close_payload(3000))
    client.lose()
    assert client.protocol.seen == [("ping", b""), ("close", True, 3000)]


def test_the_answer_to_ours() -> None:
    client = open_client()
    client.protocol.sendClose(1000)
    client.taken()
    client.close()
    assert client.taken() == b""
    assert client.dropped
    client.lose()
    assert client.protocol.seen == [("close", True, 1000)]
