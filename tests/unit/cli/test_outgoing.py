from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsservice.cli.outgoing import Outgoing
from wsservice.protocol.sending import OVERHEAD_OCTETS, Sent


class Talk:
    """A connection whose transport takes so many messages, and then has enough."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.sent: list[tuple[bytes, bool]] = []
        self.writes = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        before = len(self.sent)
        yield
        self.writes += len(self.sent) > before

    @property
    def has_room(self) -> bool:
        return len(self.sent) < self.room

    def sendMessage(self, payload: bytes, isBinary: bool) -> Sent:
        self.sent.append((payload, isBinary))
        return Sent.SENT


class Source:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


ONE, TWO, THREE = (b"1", False), (b"2", True), (b"3", False)
LIMIT = 2 * (1 + OVERHEAD_OCTETS)


def begun(room: int = 1000) -> tuple[Any, Any]:
    talk: Any = Talk(room)
    outgoing = Outgoing([], LIMIT, lambda count: None)
    outgoing.begin(talk)
    return outgoing, talk


def test_what_is_given_before_there_is_a_connection_is_sent_first() -> None:
    counted: list[int] = []
    outgoing = Outgoing([ONE], LIMIT, counted.append)
    outgoing.put([TWO])
    assert (len(outgoing), outgoing.octets_waiting) == (2, 2)
    talk: Any = Talk()
    outgoing.begin(talk)
    outgoing.put([THREE])
    assert talk.sent == [ONE, TWO, THREE]
    assert talk.writes == 2
    assert counted == [2, 1]


def test_no_more_is_sent_than_the_connection_takes() -> None:
    outgoing, talk = begun(room=2)
    outgoing.put([ONE, TWO, THREE])
    assert talk.sent == [ONE, TWO]
    outgoing.put([ONE])
    assert talk.sent == [ONE, TWO]
    talk.room = 1000
    outgoing.go_on()
    assert talk.sent == [ONE, TWO, THREE, ONE]
    assert talk.writes == 2


def test_what_a_connection_did_not_take_goes_to_the_next() -> None:
    outgoing, _ = begun(room=1)
    outgoing.put([ONE, TWO])
    outgoing.lost()
    outgoing.put([THREE])
    following: Any = Talk()
    outgoing.begin(following)
    assert following.sent == [TWO, THREE]


def test_its_source_is_told_to_pause_and_to_go_on() -> None:
    outgoing, talk = begun(room=1)
    source = Source()
    outgoing.feed_from(source)
    outgoing.put([ONE, TWO, THREE])
    assert source.told == []
    outgoing.put([ONE])
    assert source.told == ["pause"]
    talk.room = 2
    outgoing.go_on()
    assert source.told == ["pause"]
    talk.room = 1000
    outgoing.go_on()
    assert source.told == ["pause", "resume"]


def test_a_source_that_comes_when_there_is_no_room_is_paused_at_once() -> None:
    outgoing = Outgoing([ONE, TWO, THREE], LIMIT, lambda count: None)
    source: Any = Source()
    outgoing.feed_from(source)
    assert source.told == ["pause"]


def test_what_comes_then_comes_when_nothing_waits() -> None:
    outgoing, talk = begun(room=1)
    outgoing.put([ONE, TWO])
    seen: list[int] = []
    outgoing.then(lambda: seen.append(len(talk.sent)))
    assert seen == []
    talk.room = 1000
    outgoing.go_on()
    assert seen == [2]
    outgoing.put([THREE])
    assert seen == [2]


def test_one_that_was_stopped_sends_no_more() -> None:
    outgoing, talk = begun(room=1)
    source = Source()
    outgoing.feed_from(source)
    outgoing.put([ONE, TWO])
    outgoing.stop()
    outgoing.go_on()
    assert talk.sent == [ONE]
    assert len(outgoing) == 0
    assert source.told == ["stop"]
