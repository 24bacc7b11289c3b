"""Reading: the codec against Autobahn's own state machine, holds, slices."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from wsservice.client.stream import ClientConnection
from wsservice.protocol import frames as codec
from wsservice.protocol.reading import Reader
from wsservice.protocol.sending import Sent
from wsservice.server.behaviours import EchoServerProtocol

from ...codecs import BUILT, used
from ...examples import examples
from ...support import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    ByAutobahn,
    Client,
    Connecting,
    Logged,
    Recorder,
    Served,
    close_payload,
    frame,
)

KEY = b"\x11\x22\x33\x44"


def outcome(protocol: type[Recorder], octets: bytes, cuts: list[int], **config: Any) -> Any:
    served = Served(protocol, ping_interval=0, **config)
    client = served.connect()
    deflate = ("Sec-WebSocket-Extensions: permessage-deflate",) if config.get("compression") else ()
    assert client.ask("/", *deflate).startswith(b"HTTP/1.1 101 ")
    start = 0
    for cut in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        client.send(octets[start:cut])
        start = cut
    # Of a frame that has no end yet ours may look at what is there when more of it comes.
    client.send(b"\0")
    for _ in range(100):
        served.clock.advance(0)
    # Of a close frame the code: the reasons are worded differently.
    answered = [(op, data[:2] if op == CLOSE else data) for op, data in client.frames()]
    state = client.protocol.state
    client.lose()
    return client.protocol.seen, answered, state, client.protocol.localCloseCode


masked_text = st.text(max_size=40).map(lambda text: codec.encode(0x81, text.encode(), KEY))
masked_binary = st.binary(max_size=200).map(lambda data: codec.encode(0x82, data, KEY))
large = st.integers(126, 70000).map(lambda size: codec.encode(0x82, b"x" * size, KEY))
pings = st.binary(max_size=125).map(lambda data: codec.encode(0x89, data, KEY))
fragments = st.lists(st.text(max_size=9), min_size=2, max_size=4).map(
    lambda parts: b"".join(
        codec.encode((0 if i else 1) | (0x80 if i == len(parts) - 1 else 0), part.encode(), KEY)
        for i, part in enumerate(parts)
    )
)
hostile = st.one_of(
    st.tuples(st.integers(0, 255), st.binary(max_size=130)).map(
        lambda each: codec.encode(each[0], each[1], KEY)
    ),
    st.tuples(st.sampled_from([0x81, 0x82]), st.binary(max_size=130)).map(
        lambda each: codec.encode(each[0], each[1])
    ),
    st.binary(max_size=30),
)
traffic = st.lists(
    st.one_of(masked_text, masked_binary, large, pings, fragments, hostile), max_size=6
).map(b"".join)


def deflated(payload: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-12)
    return (machine.compress(payload) + machine.flush(zlib.Z_SYNC_FLUSH))[:-4]


compressed = st.tuples(
    st.sampled_from([0xC1, 0xC2]),
    st.one_of(
        st.text(max_size=200).map(lambda text: deflated(text.encode())),
        st.binary(max_size=200).map(deflated),
        st.integers(90, 110).map(lambda size: deflated(b"x" * size)),
        st.binary(max_size=20),
    ),
).map(lambda each: codec.encode(each[0], each[1], KEY))


@examples(150)
@given(
    st.lists(st.one_of(compressed, masked_text, pings, fragments, hostile), max_size=6),
    st.lists(st.integers(0, 10**6), max_size=4),
    st.sampled_from([0, 100]),
)
def test_any_compressed_octets_do_what_they_do_to_autobahn_alone(
    parts: list[bytes], cuts: list[int], limit: int
) -> None:
    config = {"compression": True, "max_message_size": limit, "greeting": ""}
    octets = b"".join(parts)
    theirs = outcome(ByAutobahn, octets, cuts, **config)
    for name in BUILT:
        with used(name):
            assert outcome(Recorder, octets, cuts, **config) == theirs


def test_a_compressed_message_that_came_whole_is_not_autobahns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = Served(Recorder, compression=True)
    client = served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    seen: list[object] = []
    monkeypatch.setattr(Reader, "_to_autobahn", lambda *octets: seen.append(octets))
    machine = zlib.compressobj(wbits=-12)
    for _ in range(2):  # the second refers to the first
        octets = machine.compress("grüße".encode()) + machine.flush(zlib.Z_SYNC_FLUSH)
        client.send(codec.encode(0xC1, octets[:-4], KEY))
    assert client.protocol.seen == [("grüße".encode(), False)] * 2
    assert client.protocol.traffic().messages_received == 2
    assert seen == []


@examples(150)
@given(traffic, st.lists(st.integers(0, 10**6), max_size=6))
@example(b'\x81\x83\x81\x80\x11"3D', [])
def test_any_octets_in_any_cuts_do_what_they_do_to_autobahn_alone(
    octets: bytes, cuts: list[int]
) -> None:
    theirs = outcome(ByAutobahn, octets, cuts)
    for name in BUILT:
        with used(name):
            assert outcome(Recorder, octets, cuts) == theirs


@examples(50)
@given(traffic, st.lists(st.integers(0, 10**6), max_size=6))
def test_the_limits_cut_in_at_the_same_octet(octets: bytes, cuts: list[int]) -> None:
    limits = {"max_message_size": 100, "greeting": "", "max_fragments": 2}
    theirs = outcome(ByAutobahn, octets, cuts, **limits)
    for name in BUILT:
        with used(name):
            assert outcome(Recorder, octets, cuts, **limits) == theirs


def test_who_overrides_a_callback_for_parts_gets_every_message_in_parts() -> None:
    protocols: Any = [Served(each).factory.protocol for each in (ByAutobahn, Recorder)]
    assert [each._common.by_codec for each in protocols] == [False, True]


def test_large_frames_in_many_reads_are_not_copied_again_with_each() -> None:
    client = Served(EchoServerProtocol, max_message_size=0, send_buffer=0).connect().open()
    payload = random.Random(1).randbytes(300_000)
    octets = codec.encode(0x82, payload, KEY)
    for start in range(0, len(octets), 1000):
        client.send(octets[start : start + 1000])
        assert len(client.protocol._reader.unread) <= 1000
    assert client.frames() == [(BINARY, payload)]


class Pausing(Recorder):
    """Reads one message at a time."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.pause_reading()


def test_a_behaviour_that_pauses_reading_gets_no_more_of_the_same_read() -> None:
    client = Served(Pausing).connect().open()
    client.send(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(PING) + frame(TEXT, b"3"))
    protocol = client.protocol
    assert protocol.seen == [(b"1", False)]
    assert client.transport.is_paused()
    protocol.resume_reading()
    assert protocol.seen == [(b"1", False), (b"2", False)]
    protocol.resume_reading()
    protocol.resume_reading()
    assert protocol.seen[-2:] == [("ping", b""), (b"3", False)]
    assert not client.transport.is_paused()


class Leaving(Recorder):
    """Drops the connection with the first message."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.dropConnection(abort=True)


def test_a_behaviour_that_drops_the_connection_gets_no_more_of_the_same_read() -> None:
    client = Served(Leaving).connect().open()
    client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
    assert client.protocol.seen == [(b"1", False)]


class Slow(Recorder):
    """Takes a millisecond for each message."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.factory.reactor.rightNow += 0.001


def flood(messages: int) -> tuple[Served, Client]:
    served = Served(Slow, ping_interval=0, handshake_timeout=0)
    client = served.connect().open()
    client.send(frame(TEXT, b"x") * messages)
    return served, client


def test_a_read_of_many_frames_is_worked_off_in_slices_in_order() -> None:
    served, client = flood(200)
    seen = client.protocol.seen
    assert 4 <= len(seen) < 64
    assert client.transport.is_paused()
    client.send(frame(TEXT, b"last"))  # as TLS may, while it is paused
    served.clock.advance(0)
    assert not client.transport.is_paused()
    assert seen == [(b"x", False)] * 200 + [(b"last", False)]


class SlowlyFailing(Slow):
    """Takes longer than a slice, and fails."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.reactor.rightNow += 1
        raise RuntimeError


def test_one_that_ends_as_its_slice_does_is_still_read_until_its_peer_ends() -> None:
    served = Served(SlowlyFailing, ping_interval=0, handshake_timeout=0)
    client = served.connect().open()
    client.send(frame(TEXT, b"x") + frame(BINARY, b"behind it"))
    assert client.protocol.state == client.protocol.STATE_CLOSED
    assert not client.transport.is_paused()


def test_what_came_before_the_end_is_heard_before_it() -> None:
    served, client = flood(60)
    assert len(client.protocol.seen) < 60
    client.lose()
    assert client.protocol.seen == [(b"x", False)] * 60 + [("close", False, 1006)]
    served.clock.advance(1)
    assert not served.clock.getDelayedCalls()


def test_what_takes_too_long_then_is_not_and_a_line_says_so(logged: Logged) -> None:
    served, client = flood(200)
    client.lose()
    heard = len(client.protocol.seen) - 1  # onClose
    assert 60 < heard < 200
    assert (
        f"{(200 - heard) * len(frame(TEXT, b'x'))} octets came too late to be read" in logged.text
    )
    served.clock.advance(1)
    assert len(client.protocol.seen) == heard + 1
    assert not served.clock.getDelayedCalls()


class Busy(Recorder):
    """Works on its first message until it is let go on, and answers each."""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        super().onMessage(payload, isBinary)
        self.seen.append(self.sendMessage(payload))
        if len(self.seen) == 2:
            self.pause_reading()
            self.work: Deferred[None] = Deferred()
            return self.work
        return None


def test_what_waits_for_a_behaviour_is_heard_though_the_peer_is_gone() -> None:
    client = Served(Busy, greeting="").connect().open()
    client.text("1")
    client.send(frame(TEXT, b"2") + frame(TEXT, b"3") + frame(CLOSE, close_payload(4000)))
    client.lose()
    assert client.protocol.seen == [(b"1", False), Sent.SENT]
    client.protocol.work.callback(None)
    # An answer has no way out any more, and the peer's own close is not forgotten.
    assert client.protocol.seen[2:] == [
        *((b"2", False), Sent.CLOSED),
        *((b"3", False), Sent.CLOSED),
        ("close", True, 4000),
    ]


def test_what_waits_for_a_reader_is_heard_though_the_server_is_gone() -> None:
    connecting = Connecting(ClientConnection)
    connecting.server.accept()
    connection: ClientConnection = connecting.protocol
    octets = b"".join(frame(BINARY, bytes([n]) * 1000, masked=False) for n in range(80))
    connecting.server.send(octets[:70_500])
    connecting.server.send(octets[70_500:] + frame(CLOSE, close_payload(4000), masked=False))
    assert connecting.server.transport.is_paused()
    connecting.server.lose()
    read: list[Any] = []
    for _ in range(80):
        connection.recv().addCallback(lambda message: read.append(message))
    assert read == [bytes([n]) * 1000 for n in range(80)]
    error: list[Any] = []
    connection.recv().addErrback(lambda failure: error.append(failure.value))
    assert error[0].code == 4000


def test_half_of_a_frame_is_no_message_whatever_waits() -> None:
    client = Served(Busy, greeting="").connect().open()
    client.text("1")
    client.send(frame(TEXT, b"2") + frame(TEXT, b"half")[:-1])
    client.lose()
    client.protocol.work.callback(None)
    assert client.protocol.seen[2:] == [(b"2", False), Sent.CLOSED, ("close", False, 1006)]


def test_a_close_behind_many_messages_is_answered_after_them() -> None:
    client = Served(Recorder).connect().open()
    client.send(frame(TEXT, b"x") * 50 + frame(CLOSE, close_payload(1000)))
    assert len(client.protocol.seen) == 50
    assert client.frames() == [(CLOSE, close_payload(1000))]
