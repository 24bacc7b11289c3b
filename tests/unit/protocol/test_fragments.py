"""Fragments: messages of several frames, and the limits that hold at every octet of them."""

from __future__ import annotations

import random

import pytest

from wsservice.server.behaviours import EchoServerProtocol

from ...support import BINARY, CLOSE, PING, TEXT, Served, close_payload, frame


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_fragment_in_many_reads_is_kept_as_one(step: int) -> None:
    client = Served(EchoServerProtocol).connect().open()
    payload = random.Random(2).randbytes(2000)
    octets = frame(BINARY, payload, fin=False)
    for start in range(0, len(octets), step):
        client.send(octets[start : start + step])
        assert len(getattr(client.protocol, "frame_data", None) or ()) <= 1
    client.send(frame(0, b"and more"))
    assert client.frames() == [(BINARY, payload + b"and more")]


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_control_frame_between_and_within_fragments_is_answered_at_any_cut(cut: int) -> None:
    client = Served(EchoServerProtocol).connect().open()
    octets = frame(TEXT, b"ab", fin=False) + frame(PING, b"p") + frame(0, b"cd")
    client.send(octets[:cut])
    client.send(octets[cut:])
    assert client.frames() == [(10, b"p"), (TEXT, b"abcd")]


def test_too_many_fragments_end_the_connection_at_the_first_that_is_too_many() -> None:
    client = Served(EchoServerProtocol, max_fragments=2).connect().open()
    client.send(frame(TEXT, b"a", fin=False) + frame(0, b"b", fin=False))
    assert client.frames() == []
    client.send(frame(0, b"c", fin=False)[:6])
    assert client.frames() == [(CLOSE, close_payload(1008, b"too many fragments"))]


def test_a_message_that_is_too_big_ends_the_connection_at_the_head_of_its_frame() -> None:
    client = Served(EchoServerProtocol, max_message_size=1000).connect().open()
    client.send(frame(BINARY, bytes(600), fin=False))
    client.send(frame(0, bytes(400), fin=False))
    assert client.frames() == []
    client.send(frame(0, b"x")[:6])
    assert client.frames() == [(CLOSE, close_payload(1009, b"message too big"))]
