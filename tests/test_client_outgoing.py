from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsservice.client.outgoing import Outgoing


class Talk:
    """A connection that pauses its producer after so many messages."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.sent: list[tuple[bytes, bool]] = []
        self.writes = 0
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    @contextmanager
    def together(self) -> Iterator[None]:
        before = len(self.sent)
        yield
        self.writes += len(self.sent) > before

    def sendMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sent.append((payload, isBinary))
        if len(self.sent) == self.room:
            self.producer.pauseProducing()


class Source:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def begun(room: int = 1000) -> tuple[Any, Any]:
    talk: Any = Talk(room)
    outgoing = Outgoing()
    outgoing.begin(talk)
    return outgoing, talk


ONE, TWO, THREE = (b"1", False), (b"2", True), (b"3", False)


def test_what_is_given_before_there_is_a_connection_is_sent_first() -> None:
    outgoing = Outgoing([ONE])
    outgoing.put([TWO])
    talk: Any = Talk()
    outgoing.begin(talk)
    outgoing.put([THREE])
    assert talk.sent == [ONE, TWO, THREE]
    assert talk.writes == 2


def test_no_more_is_sent_than_the_connection_takes() -> None:
    outgoing, talk = begun(room=2)
    outgoing.put([ONE, TWO, THREE])
    assert talk.sent == [ONE, TWO]
    outgoing.put([ONE])
    assert talk.sent == [ONE, TWO]
    talk.producer.resumeProducing()
    assert talk.sent == [ONE, TWO, THREE, ONE]


def test_its_source_is_told_to_pause_and_to_go_on() -> None:
    outgoing, talk = begun(room=2)
    source = Source()
    outgoing.feed_from(source)
    assert source.told == []
    outgoing.put([ONE, TWO, THREE])
    assert source.told == ["pause"]
    talk.producer.resumeProducing()
    assert source.told == ["pause", "resume"]


def test_a_source_that_comes_when_there_is_no_room_is_paused_at_once() -> None:
    outgoing, _ = begun(room=1)
    outgoing.put([ONE])
    source = Source()
    outgoing.feed_from(source)
    assert source.told == ["pause"]


def test_its_source_does_not_go_on_when_what_waited_filled_the_room_again() -> None:
    outgoing, talk = begun(room=1)
    source = Source()
    outgoing.feed_from(source)
    outgoing.put([ONE, TWO, THREE])
    talk.room = 3
    talk.producer.resumeProducing()
    assert source.told == ["pause", "pause"]


def test_what_comes_then_comes_when_nothing_waits() -> None:
    outgoing, talk = begun(room=1)
    outgoing.put([ONE, TWO])
    seen: list[int] = []
    outgoing.then(lambda: seen.append(len(talk.sent)))
    assert seen == []
    talk.producer.resumeProducing()
    assert seen == [2]
    outgoing.put([THREE])
    assert seen == [2]


def test_one_that_was_stopped_sends_no_more() -> None:
    outgoing, talk = begun(room=1)
    source = Source()
    outgoing.feed_from(source)
    outgoing.put([ONE, TWO])
    talk.producer.stopProducing()
    talk.producer.resumeProducing()
    assert talk.sent == [ONE]
    assert source.told == ["pause", "stop"]
