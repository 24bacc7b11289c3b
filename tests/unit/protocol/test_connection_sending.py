"""How what a connection sends leaves: together, and made once for many."""

from __future__ import annotations

import zlib

import pytest

from wsservice.protocol.sending import Sent
from wsservice.server.behaviours import GreetingServerProtocol

from ...support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    Connecting,
    Recorder,
    Served,
    close_payload,
    frame,
    frames,
    opening_request,
)


class Talkative(Recorder):
    """Answers with two messages, and tells all."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)
        self.broadcast(payload, isBinary)


def writes(client: Client) -> list[bytes]:
    """Each write to its transport from now on."""
    seen: list[bytes] = []
    client.protocol._queue._write = seen.append
    return seen


class TestOneWrite:
    def test_all_answers_of_a_read_leave_in_one_write_for_each_connection(self) -> None:
        served = Served(Talkative)
        one, two = served.connect().open(), served.connect().open()
        first, second = writes(one), writes(two)
        one.send(frame(TEXT, b"a") + frame(PING, b"p") + frame(TEXT, b"b"))
        aa, bb = (frame(TEXT, each, masked=False) for each in (b"a", b"b"))
        assert first == [aa + aa + frame(PONG, b"p", masked=False) + bb + bb]
        assert second == [aa + bb]

    def test_the_answer_to_the_handshake_and_the_greeting_leave_in_one(self) -> None:
        client = Served(GreetingServerProtocol).connect()
        seen = writes(client)
        client.send(opening_request())
        (octets,) = seen
        assert octets.startswith(b"HTTP/1.1 101 ")
        assert octets.endswith(frame(TEXT, b"Hello from server", masked=False))

    def test_outside_of_a_read_each_message_leaves_at_once(self) -> None:
        client = Served().connect().open()
        seen = writes(client)
        client.protocol.sendMessage(b"a")
        client.protocol.sendMessage(b"b")
        assert len(seen) == 2

    def test_what_was_answered_leaves_before_the_close(self) -> None:
        class Closing(Recorder):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.sendMessage(payload, isBinary)
                if payload == b"b":
                    raise RuntimeError

        client = Served(Closing).connect().open()
        client.send(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c"))
        assert client.frames() == [
            (TEXT, b"a"),
            (TEXT, b"b"),
            (CLOSE, close_payload(1011)),
        ]


def test_a_write_that_fails_is_as_if_the_callback_had() -> None:
    served = Served(Talkative, greeting="")
    one, broken, other = (served.connect().open() for _ in range(3))

    def fail(data: bytes) -> None:
        raise OSError("no")

    broken.protocol._queue._write = fail
    one.text("a")
    assert one.frames() == [(TEXT, b"a"), (TEXT, b"a"), (CLOSE, close_payload(1011))]
    assert one.dropped
    assert other.frames() == [(TEXT, b"a")]


class TestPreparedMessages:
    OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

    def test_one_is_sent_as_a_message_is(self) -> None:
        served = Served()
        client = served.connect().open()
        message = served.factory.prepareMessage(b"x", True)
        assert client.protocol.sendPreparedMessage(message) is Sent.SENT
        assert client.frames() == [(BINARY, b"x")]
        client.close()
        assert client.protocol.sendPreparedMessage(message) is Sent.CLOSED

    def test_a_client_masks_it_each_time_anew(self) -> None:
        connecting = Connecting()
        connecting.server.accept()
        message = connecting.factory.prepareMessage(b"x" * 8)
        for _ in range(2):
            connecting.protocol.sendPreparedMessage(message)
        octets = connecting.server.taken()
        assert list(frames(octets)) == [(TEXT, b"x" * 8)] * 2
        assert octets[: len(octets) // 2] != octets[len(octets) // 2 :]

    def test_between_messages_that_keep_context_all_can_be_inflated(self) -> None:
        served = Served(Recorder, compression=True)
        client = served.connect()
        client.ask("/", self.OFFER)
        sent = [b"the same words, " * 5 + bytes([65 + i]) for i in range(6)]
        for i, payload in enumerate(sent):
            if i % 2:
                client.protocol.broadcast(payload)
            else:
                client.protocol.sendMessage(payload)
        inflate = zlib.decompressobj(-15)
        octets = client.taken()
        assert octets.count(b"\xc1") >= 6
        got = [inflate.decompress(data + b"\0\0\xff\xff") for _, data in frames(octets)]
        assert got == sent

    @pytest.mark.parametrize("slow_client", ["close", "drop"])
    def test_where_messages_may_be_left_out_none_refers_to_another(self, slow_client: str) -> None:
        served = Served(compression=True, slow_client=slow_client)
        client = served.connect()
        client.ask("/", self.OFFER)
        client.protocol.sendMessage(b"the same words " * 9)
        client.taken()  # as if it had been left out
        client.protocol.sendMessage(b"the same words " * 9)
        ((_, data),) = client.frames()
        inflate = zlib.decompressobj(-15)
        try:
            got = inflate.decompress(data + b"\0\0\xff\xff")
        except zlib.error:
            got = b""
        assert (got == b"the same words " * 9) == (slow_client == "drop")
