from __future__ import annotations

import zlib
from typing import Any

import pytest

from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol

from ...support import BINARY, PING, PONG, TEXT, Client, Logged, Served, frame, frames


class Watcher:
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.rest: int | None = None
        self.waiting = b""
        self.seen: list[tuple[str, bytes]] = []
        self.over = 0

    def began(self, rest: int, waiting: bytes) -> None:
        self.rest, self.waiting = rest, waiting

    def received(self, octets: bytes) -> None:
        self.seen.append(("received", octets))

    def sent(self, octets: bytes) -> None:
        self.seen.append(("sent", octets))

    def ended(self) -> None:
        self.over += 1

    def sent_frames(self) -> list[Any]:
        return list(frames(b"".join(octets for way, octets in self.seen if way == "sent")))


class Failing(Watcher):
    def received(self, octets: bytes) -> None:
        raise RuntimeError("a watcher's own")


def watched(client: Client, watcher: Watcher | None = None) -> Watcher:
    watcher = watcher or Watcher()
    client.protocol.watch(watcher)
    return watcher


def test_both_directions_are_shown_in_order() -> None:
    client = Served(EchoServerProtocol).connect().open()
    watcher = watched(client)
    assert (watcher.rest, watcher.waiting) == (0, b"")
    client.text("hello")
    client.send(frame(PING, b"p"))
    assert [way for way, _ in watcher.seen] == ["received", "sent", "received", "sent"]
    assert watcher.seen[0][1] == frame(TEXT, b"hello")
    assert watcher.sent_frames() == [(TEXT, b"hello"), (PONG, b"p")]
    assert client.frames() == [(TEXT, b"hello"), (PONG, b"p")]


def test_what_is_published_is_shown_and_what_waited_when_it_leaves() -> None:
    served = Served()
    client = served.connect().open("/x")
    watcher = watched(client)
    client.protocol.pauseProducing()
    served.hub.publish("x", b"news")
    assert watcher.seen == []
    client.protocol.resumeProducing()
    assert watcher.sent_frames() == [(TEXT, b"news")]


def test_it_begins_within_a_large_frame() -> None:
    client = Served().connect().open()
    large = frame(BINARY, bytes(100_000))
    client.send(large[:60_000])
    watcher = watched(client)
    assert watcher.rest == 40_000 + (len(large) - 100_000)
    client.send(large[60_000:])
    assert client.protocol.traffic().messages_received == 1


def test_it_begins_within_a_frame_that_is_autobahns() -> None:
    client = Served().connect().open()
    fragment = frame(TEXT, b"x" * 1000, fin=False)
    client.send(fragment[:600])
    assert watched(client).rest == len(fragment) - 600


def test_what_came_and_was_not_looked_at_is_shown_first() -> None:
    client = Served().connect().open()
    client.send(frame(TEXT, b"hello")[:4])
    assert watched(client).waiting == frame(TEXT, b"hello")[:4]


def test_only_who_is_watched_goes_a_longer_way() -> None:
    served = Served()
    client, other = served.connect().open(), served.connect().open()
    watcher = watched(client)
    assert "dataReceived" in vars(client.protocol)
    assert "dataReceived" not in vars(other.protocol)
    client.protocol.unwatch(watcher)
    client.protocol.unwatch(watcher)
    assert "dataReceived" not in vars(client.protocol)
    client.text("unseen")
    client.protocol.sendMessage(b"unseen")
    assert watcher.seen == []
    assert client.frames() == [(TEXT, b"unseen")]


def test_several_watch_and_one_leaves() -> None:
    client = Served().connect().open()
    first, second = watched(client), watched(client)
    client.text("both")
    client.protocol.unwatch(first)
    client.text("one")
    assert (len(first.seen), len(second.seen)) == (1, 2)


def test_the_end_is_told_once_and_leaves_nothing_behind() -> None:
    client = Served().connect().open()
    watcher = watched(client)
    client.close()
    client.lose()
    assert watcher.over == 1
    assert watcher.sent_frames()[-1][0] == 8
    assert "dataReceived" not in vars(client.protocol)


def test_one_that_fails_is_logged_and_harms_nobody(logged: Logged) -> None:
    client = Served(EchoServerProtocol).connect().open()
    failing, other = watched(client, Failing()), watched(client)
    client.text("hello")
    assert client.frames() == [(TEXT, b"hello")]
    assert len(other.seen) == 2
    client.protocol.unwatch(failing)
    assert "a watcher failed" in logged.failures[0]
    assert len(logged.failures) == 1


def test_compressed_frames_are_shown_as_they_are() -> None:
    client = Served(compression=True).connect()
    client.ask("/", "Sec-WebSocket-Extensions: permessage-deflate")
    watcher = watched(client)
    client.protocol.sendMessage(b"hello" * 100)
    ((_, octets),) = watcher.seen
    assert octets[0] == 0xC1
    data = zlib.decompressobj(-15).decompress(octets[2:] + b"\0\0\xff\xff")
    assert data == b"hello" * 100


@pytest.mark.parametrize("protocol", [ServerProtocol, EchoServerProtocol])
def test_a_behaviour_may_send_while_it_is_watched(protocol: type[ServerProtocol]) -> None:
    client = Served(protocol).connect().open()
    watcher = watched(client)
    client.protocol.sendMessage(b"x")
    assert watcher.sent_frames() == [(TEXT, b"x")]
