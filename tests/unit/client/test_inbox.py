from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from wsservice.client.inbox import Inbox
from wsservice.protocol.sending import OVERHEAD_OCTETS


class Box:
    """An inbox for three messages of ten octets, and what it asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.inbox = Inbox(
            lambda: self.asked.append("pause"),
            lambda: self.asked.append("resume"),
            3 * (10 + OVERHEAD_OCTETS),
        )

    def got(self) -> list[Any]:
        """Ask for one more message, and return a list for the outcome."""
        outcome: list[Any] = []
        self.inbox.get().addBoth(outcome.append)
        return outcome


@pytest.fixture
def box() -> Box:
    return Box()


def test_what_came_is_given_in_order(box: Box) -> None:
    box.inbox.put("a")
    box.inbox.put(b"b")
    assert box.inbox.ready
    assert [box.got(), box.got()] == [["a"], [b"b"]]
    assert not box.inbox.ready


def test_who_asks_before_it_comes_waits(box: Box) -> None:
    got = box.got()
    assert got == []
    box.inbox.put("a")
    assert got == ["a"]
    assert not box.inbox.ready


def test_one_that_is_cancelled_takes_none(box: Box) -> None:
    outcome: list[Any] = []
    waiting = box.inbox.get().addErrback(outcome.append)
    waiting.cancel()
    assert outcome[0].check(CancelledError)
    box.inbox.put("a")
    assert box.got() == ["a"]


def test_two_readers_are_an_error_in_one_line(box: Box) -> None:
    got = box.got()
    with pytest.raises(RuntimeError, match="one reader") as caught:
        box.inbox.get()
    assert str(caught.value).isprintable()
    box.inbox.put("a")
    assert got == ["a"]


def test_it_pauses_when_enough_waits_and_resumes_at_half(box: Box) -> None:
    for _ in range(2):
        box.inbox.put("0123456789")
    assert box.asked == []
    box.inbox.put("0123456789")
    box.inbox.put("over")  # which was under way
    assert box.asked == ["pause"]
    for _ in range(2):
        box.inbox.take()
    assert box.asked == ["pause"]
    box.inbox.take()
    assert box.asked == ["pause", "resume"]
    assert box.inbox.take() == "over"


def test_empty_messages_are_bounded_too(box: Box) -> None:
    for _ in range(4):
        box.inbox.put("")
    assert box.asked == ["pause"]


def test_what_came_before_the_end_is_given_before_it(box: Box) -> None:
    box.inbox.put("a")
    ended = [box.inbox.ended]
    box.inbox.end(lambda: ValueError("over"))
    assert [*ended, box.inbox.ended] == [False, True]
    assert box.got() == ["a"]
    (first,), (second,) = box.got(), box.got()
    assert first.check(ValueError)
    assert second.check(ValueError)
    # An error that many raise would grow with the traceback of each.
    assert first.value is not second.value


def test_the_end_is_told_to_who_waits(box: Box) -> None:
    got = box.got()
    box.inbox.end(lambda: ValueError("over"))
    assert got[0].check(ValueError)


def test_more_may_be_thrown_away_in_place_of_a_pause(box: Box) -> None:
    for each in "abcd":
        box.inbox.put(each * 10)
    box.inbox.discard_more()
    assert box.asked == ["pause", "resume"]
    box.inbox.put("thrown away")
    assert [box.inbox.take()[:1] for _ in range(4)] == [*"abcd"]
    assert not box.inbox.ready
    for each in "efghi":
        box.inbox.put(each * 10)
    assert [box.inbox.take()[:1] for _ in range(3)] == [*"efg"]
    assert box.inbox.discarded == 3
    assert not box.inbox.ready
    assert box.asked == ["pause", "resume"]


@pytest.mark.parametrize(("character", "count"), [("a", 3), ("\u20ac", 2), ("\U0001f600", 2)])
def test_of_text_it_is_octets_that_are_counted(box: Box, character: str, count: int) -> None:
    taken = 0
    while not box.asked:
        box.inbox.put(10 * character)
        taken += 1
    assert taken == count
    for _ in range(count):
        box.inbox.take()
    assert box.asked == ["pause", "resume"]
    assert box.inbox._size == 0
