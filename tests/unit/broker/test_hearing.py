"""hearing.py: subscriptions, and what waits for them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.broker import hearing as module
from wsservice.broker.hearing import HeardChannel, Hearing
from wsservice.broker.queued import QueuedMessage
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.errors import Refused

from ...support import Logged


class Link:
    """A server that says later whether a channel may be heard."""

    def __init__(self) -> None:
        self.up = True
        self.asked: list[Deferred[None]] = []
        self.left: list[bytes] = []

    def subscribe(self, name: bytes, heard: Any) -> Deferred[None]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def unsubscribe(self, name: bytes) -> None:
        self.left.append(name)


class Heard:
    """The channel "a" of one server, and what became of messages to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        link: Any = Link()
        self.link = link
        self.confirmed: list[str] = []
        self.put: list[bytes] = []
        self.hearing = Hearing(
            self.clock,
            lambda line, octets: None,
            lambda line: self.confirmed.append(line.channel),
            lambda link, publication: self.put.append(publication.message.payload),
        )
        self.hearing.begin("a", self.link, b"said:a")

    @property
    def line(self) -> HeardChannel:
        line = self.hearing.get("a")
        assert line is not None
        return line

    def hold(self, payload: bytes) -> bool:
        return self.hearing.hold(QueuedMessage(ChannelMessage("a", payload)))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_messages_are_held_until_their_channel_is_heard(heard: Heard) -> None:
    waits: Deferred[None] = Deferred()
    heard.line.waiting.append(waits)
    assert heard.hold(b"1")
    assert heard.hold(b"2")
    assert heard.hearing.counts() == (0, 1)
    assert heard.put == []
    heard.link.asked[0].callback(None)
    assert heard.put == [b"1", b"2"]
    assert waits.called
    assert heard.confirmed == ["a"]
    assert heard.hearing.counts() == (1, 0)
    assert not heard.hold(b"3")


def test_a_message_for_a_channel_that_nobody_is_on_is_not_held(heard: Heard) -> None:
    assert not heard.hearing.hold(QueuedMessage(ChannelMessage("b", b"1")))


def test_what_is_held_is_bounded(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    assert [heard.hold(b"x") for _ in range(3)] == [True, True, False]
    heard.link.asked[0].callback(None)
    assert heard.put == [b"x", b"x"]


def test_a_channel_is_left_a_while_after_the_last_connection(heard: Heard) -> None:
    heard.hearing.leave("a")
    heard.clock.advance(4.9)
    heard.line.cancel()
    heard.clock.advance(10)
    assert heard.link.left == []
    heard.hearing.leave("a")
    heard.hold(b"held")
    heard.clock.advance(5)
    assert heard.link.left == [b"said:a"]
    assert heard.hearing.get("a") is None
    assert heard.put == [b"held"]


def test_a_channel_that_may_not_be_heard_holds_nothing_and_is_tried_again(
    heard: Heard, logged: Logged
) -> None:
    heard.hold(b"1")
    heard.link.asked[0].errback(Refused("NOPERM no", "NOPERM"))
    assert heard.put == [b"1"]
    assert not heard.hold(b"2")
    assert "the channel a cannot be heard: NOPERM no" in logged.text
    heard.clock.advance(5)
    heard.link.asked[1].callback(None)
    assert heard.confirmed == ["a"]


def test_when_the_server_is_away_what_was_heard_is_remembered(heard: Heard) -> None:
    heard.link.asked[0].callback(None)
    line = heard.line
    line.last, line.mark, line.current = Position(3, "e"), b"mark", True
    heard.link.up = False
    assert heard.hearing.lost(heard.link) == [line]
    assert line.before == (Position(3, "e"), b"mark")
    assert line.was_heard
    assert not line.current
    other: Any = Link()
    # A second time it knows nothing new, and keeps what it knew.
    line.last = None
    heard.hearing.lost(heard.link)
    assert line.before == (Position(3, "e"), b"mark")
    assert heard.hearing.lost(other) == []


def test_at_the_end_no_timer_is_left(heard: Heard) -> None:
    heard.hearing.leave("a")
    heard.hearing.close()
    assert heard.clock.getDelayedCalls() == []
