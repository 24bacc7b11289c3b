from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from wsservice.auth.contract import User
from wsservice.directory import tracing
from wsservice.directory.tracing import MOST_TRACES, Trace, Traces
from wsservice.server.behaviours import EchoServerProtocol

from ...support import BINARY, CLOSE, PING, TEXT, Client, Served, close_payload, frame


class Reader:
    """Reads a trace."""

    def __init__(self) -> None:
        self.octets = b""
        self.ended = 0
        self.aborted = 0

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def end(self) -> None:
        self.ended += 1

    def abort(self) -> None:
        self.aborted += 1

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Events since the last time."""
        text, self.octets = self.octets.decode("ascii"), b""
        blocks = [each for each in text.split("\n\n") if each and not each.startswith(":")]
        pairs = [each.split("\n") for each in blocks]
        return [
            (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
            for name, data in pairs
        ]

    @property
    def frames(self) -> list[tuple[str, int, str]]:
        return [
            (data["direction"], data["opcode"], data["payload"])
            for name, data in self.events
            if name == "frame"
        ]


class Traced:
    """A connection that is traced."""

    def __init__(self, **settings: Any) -> None:
        self.served = Served(EchoServerProtocol, **settings)
        self.served.clock.advance(1_800_000_000.5)
        self.client = self.served.connect().open("/x")
        self.traces = Traces(self.served.clock)
        self.trace, self.reader = self.begin(self.client)

    def begin(self, client: Client) -> tuple[Trace, Reader]:
        trace = self.traces.trace(client.protocol)
        assert trace is not None
        reader = Reader()
        trace.begin(reader)
        return trace, reader

    @property
    def clock(self) -> Clock:
        return self.served.clock


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_it_names_the_user(traced: Traced) -> None:
    client = traced.served.connect().open("/x")
    client.protocol.user = User('é\u202e"')
    _, reader = traced.begin(client)
    assert reader.octets == b': connection 2, user "\\u00e9\\u202e\\""\n\n'


def test_a_conversation(traced: Traced) -> None:
    assert traced.reader.octets == b": connection 1\n\n"
    traced.client.text("h\u00e4llo")
    traced.client.send(frame(PING, b"p"))
    traced.client.send(frame(BINARY, b"\x00\xff"))
    traced.client.send(frame(TEXT, b"one", fin=False))
    assert traced.reader.frames == [
        ("received", TEXT, "h\u00e4llo"),
        ("sent", TEXT, "h\u00e4llo"),
        ("received", PING, "p"),
        ("sent", 10, "p"),
        ("received", BINARY, "00ff"),
        ("sent", BINARY, "00ff"),
        ("received", TEXT, "one"),
    ]
    traced.client.send(frame(0, b"two"))
    assert traced.reader.events[0] == (
        "frame",
        {
            "time": "2027-01-15T08:00:00.500Z",
            "direction": "received",
            "opcode": 0,
            "fin": True,
            "size": 3,
            "payload": "two",
            "cut": False,
        },
    )


def test_its_end(traced: Traced) -> None:
    traced.client.send(frame(CLOSE, close_payload(4001, b"bye")))
    traced.client.lose()
    events = traced.reader.events
    assert [data.get("payload") for _, data in events] == ["4001 bye", "4001 bye", None]
    assert events[-1] == ("closed", {"time": "2027-01-15T08:00:00.500Z", "code": 4001})
    assert traced.reader.ended == 1
    assert len(traced.traces) == 0
    traced.served.clock.advance(60)
    assert traced.reader.events == []


def test_nothing_from_a_peer_is_printed_as_it_is(traced: Traced) -> None:
    traced.client.text('\x1b[2J\n\nevent: closed\ndata: {}\n\n\u202e</script>"\\')
    assert traced.reader.octets.isascii()
    assert b"\x1b" not in traced.reader.octets
    events = traced.reader.events
    assert [name for name, _ in events] == ["frame", "frame"]
    assert events[0][1]["payload"].startswith("\x1b[2J\n\nevent: closed")


def test_a_payload_is_cut_between_characters(traced: Traced) -> None:
    traced.client.send(frame(TEXT, b"x" + "\u20ac".encode() * 1000))
    (data, *_) = (data for _, data in traced.reader.events)
    assert (data["size"], data["cut"]) == (3001, True)
    assert data["payload"] == "x" + "\u20ac" * 341


def test_octets_are_cut_sooner(traced: Traced) -> None:
    for size in (256, 257):
        traced.client.send(frame(BINARY, b"z" * size))
    shown = [(len(data["payload"]), data["cut"]) for _, data in traced.reader.events]
    assert shown == [(512, False)] * 2 + [(512, True)] * 2


def test_octets_that_are_no_text_are_shown_all_the_same(traced: Traced) -> None:
    traced.client.send(frame(PING, b"\xff"))
    traced.client.send(frame(TEXT, b"\xff"))
    assert [payload for _, _, payload in traced.reader.frames][:3] == ["ff", "ff", "\ufffd"]


def test_compressed_frames_say_so() -> None:
    traced = Traced(compression=True)
    client = traced.served.connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    _, reader = traced.begin(client)
    client.protocol.sendMessage(b"hello" * 100)
    ((_, data),) = reader.events
    assert data["compressed"] is True
    assert bytes.fromhex(data["payload"])[:1] != b"h"


def test_a_slow_reader_gets_what_was_held_and_is_told_what_was_not(traced: Traced) -> None:
    traced.trace.pauseProducing()
    for _ in range(20):
        traced.clock.advance(1)
        traced.client.send(frame(BINARY, b"z" * 1000) * 100)
    assert traced.reader.events == []
    traced.trace.resumeProducing()
    events = traced.reader.events
    held = [data for name, data in events if name == "frame"]
    assert 200 < len(held) < 500
    assert events[-1] == ("dropped", {"count": 4000 - len(held)})
    traced.client.text("again")
    assert [payload for _, _, payload in traced.reader.frames] == ["again", "again"]


def test_one_that_stops_again_while_it_is_told(traced: Traced) -> None:
    traced.trace.pauseProducing()
    traced.client.text("a")

    class Stopping(Reader):
        def write(self, octets: bytes) -> None:
            super().write(octets)
            traced.trace.pauseProducing()

    reader = traced.trace._outlet = Stopping()
    traced.trace.resumeProducing()
    assert len(reader.events) == 1
    traced.trace.resumeProducing()
    assert len(reader.events) == 1


def test_a_flood_is_shown_in_part_and_costs_in_part(traced: Traced) -> None:
    for _ in range(30):
        traced.client.send(frame(TEXT, b"x") * 100)
    assert len(traced.reader.events) == 2000
    traced.clock.advance(1)
    traced.client.text("later")
    events = traced.reader.events
    assert events[0] == ("dropped", {"count": 4000})
    assert events[1][1]["payload"] == "later"


def test_a_flood_that_is_over_is_told_of_with_the_next_sign_of_life(traced: Traced) -> None:
    traced.client.send(frame(TEXT, b"x") * 1500)
    assert len(traced.reader.events) == 2000
    traced.clock.advance(15)
    assert traced.reader.events == [("dropped", {"count": 1000})]


def test_what_is_held_is_told_before_the_end(traced: Traced) -> None:
    traced.trace.pauseProducing()
    traced.client.text("last words")
    traced.client.lose()
    assert [name for name, _ in traced.reader.events] == ["frame", "frame", "closed"]


def test_signs_of_life() -> None:
    traced = Traced(ping_interval=0)
    traced.reader.octets = b""
    traced.clock.pump([15] * 3)
    assert traced.reader.octets == 3 * b": still here\n\n"


def test_a_reader_that_never_reads_is_let_go(traced: Traced) -> None:
    traced.trace.pauseProducing()
    traced.clock.pump([15] * 3)
    assert traced.reader.aborted == 0
    traced.clock.advance(15)
    assert (traced.reader.aborted, traced.reader.ended) == (1, 0)
    assert len(traced.traces) == 0
    assert traced.client.protocol._watched is None


def test_a_reader_that_leaves(traced: Traced) -> None:
    traced.trace.stopProducing()
    traced.trace.stopProducing()
    assert traced.reader.ended == 0
    assert traced.client.protocol._watched is None
    assert len(traced.traces) == 0
    traced.client.text("unseen")
    assert traced.reader.events == []


def test_one_that_never_began_ends_too() -> None:
    traced = Traced()
    trace = traced.traces.trace(traced.client.protocol)
    assert trace is not None
    trace.stopProducing()
    assert len(traced.traces) == 1


def test_a_few_at_once(traced: Traced) -> None:
    for _ in range(MOST_TRACES - 1):
        traced.begin(traced.client)
    assert traced.traces.trace(traced.client.protocol) is None
    traced.traces.end()
    assert len(traced.traces) == 0
    assert traced.reader.ended == 1
    assert traced.traces.trace(traced.client.protocol) is not None
    assert tracing.MOST_TRACES == MOST_TRACES
