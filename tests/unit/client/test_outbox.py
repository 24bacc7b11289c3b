from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from wsservice.client.outbox import Outbox
from wsservice.protocol.sending import OVERHEAD_OCTETS, Sent


class FakeLine:
    """A connection that takes what the test lets it take."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.room = 1000
        self.refuses: Sent | None = None

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def sendMessage(self, payload: bytes, isBinary: bool) -> Sent:
        if self.refuses is not None:
            return self.refuses
        self.sent.append(payload)
        self.room -= 1
        return Sent.SENT


class Sending:
    """An outbox for three messages of ten octets."""

    def __init__(self, limit: int = 3 * (10 + OVERHEAD_OCTETS)) -> None:
        self.told: list[Any] = []
        self.outbox = Outbox(
            limit,
            pause=lambda: self.told.append("pause"),
            resume=lambda: self.told.append("resume"),
            sent=self.told.append,
        )
        self.line = FakeLine()

    def send(self, *payloads: bytes) -> None:
        for each in payloads:
            self.outbox.put([(each, False)])


@pytest.fixture
def sending() -> Sending:
    return Sending()


def test_what_comes_without_a_connection_is_kept_and_sent_in_order(sending: Sending) -> None:
    sending.send(b"a", b"b")
    assert len(sending.outbox) == 2
    sending.outbox.begin(sending.line)
    sending.send(b"c")
    assert sending.line.sent == [b"a", b"b", b"c"]
    assert len(sending.outbox) == 0
    assert sending.told == [2, 1]


def test_it_asks_for_a_pause_when_too_much_is_kept_and_for_more_at_half(sending: Sending) -> None:
    sending.send(*[b"0123456789"] * 3)
    assert sending.told == []
    sending.send(*[b"0123456789"] * 2)
    assert sending.told == ["pause"]
    sending.line.room = 3
    sending.outbox.begin(sending.line)
    assert sending.told == ["pause", 3]
    sending.line.room = 1
    sending.outbox.go_on()
    assert sending.told == ["pause", 3, 1, "resume"]


def test_empty_messages_are_bounded_too(sending: Sending) -> None:
    sending.send(*[b""] * 5)
    assert sending.told == ["pause"]


def test_without_a_limit_any_number_is_kept() -> None:
    sending = Sending(limit=0)
    sending.send(*[b"0123456789"] * 1000)
    assert len(sending.outbox) == 1000
    assert sending.told == []


def test_no_more_is_handed_over_than_the_connection_takes_at_once(sending: Sending) -> None:
    sending.outbox.begin(sending.line)
    sending.line.room = 1
    sending.send(b"a", b"b", b"c")
    assert sending.line.sent == [b"a"]
    sending.line.room = 1
    sending.outbox.go_on()
    assert sending.line.sent == [b"a", b"b"]
    sending.line.room = 1
    sending.outbox.go_on()
    assert sending.line.sent == [b"a", b"b", b"c"]


@pytest.mark.parametrize("why", [Sent.CLOSED, Sent.SLOW])
def test_what_a_connection_does_not_take_goes_to_the_next(sending: Sending, why: Sent) -> None:
    sending.outbox.begin(sending.line)
    sending.line.refuses = why
    sending.send(b"a", b"b")
    sending.outbox.lost()
    sending.send(b"c")
    sending.outbox.begin(following := FakeLine())
    assert following.sent == [b"a", b"b", b"c"]


def test_what_is_forgotten_is_not_sent(sending: Sending) -> None:
    sending.send(b"abc", b"")
    assert sending.outbox.octets == 3
    sending.outbox.forget()
    assert (len(sending.outbox), sending.outbox.octets) == (0, 0)
    sending.outbox.begin(sending.line)
    sending.send(b"d")
    assert sending.line.sent == [b"d"]


class TestEmpty:
    def test_with_nothing_kept_it_is_so_at_once(self, sending: Sending) -> None:
        outcome: list[Any] = []
        sending.outbox.empty().addBoth(outcome.append)
        assert outcome == [None]

    def test_it_fires_when_all_was_handed_over(self, sending: Sending) -> None:
        sending.send(b"a")
        outcome: list[Any] = []
        sending.outbox.empty().addBoth(outcome.append)
        assert outcome == []
        sending.outbox.begin(sending.line)
        assert outcome == [None]

    def test_one_that_is_cancelled_is_not_waited_for(self, sending: Sending) -> None:
        sending.send(b"a")
        outcome: list[Any] = []
        empty = sending.outbox.empty().addBoth(outcome.append)
        empty.cancel()
        sending.outbox.begin(sending.line)
        assert outcome[0].check(CancelledError)


def test_ended_it_tells_who_waits_for_it_to_be_empty(sending: Sending) -> None:
    sending.send(b"a")
    outcome: list[Any] = []
    sending.outbox.empty().addBoth(outcome.append)
    sending.outbox.end(lambda: KeyError("over"))
    assert outcome[0].check(KeyError)
