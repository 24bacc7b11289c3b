from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.channels.history import Missed
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.channels.question import HistoryQuestion

PLACE = Position(1, "e")
NOTHING = Missed((), PLACE)
SOMETHING = Missed([ChannelMessage("a", b"x", False, 0.0, 1, "e")], PLACE)


class Turns:
    """A reactor whose turns a test makes: of a clock, what follows comes in the same breath."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callLater(self, _: float, call: Callable[..., object], *arguments: Any) -> None:
        self.calls.append(partial(call, *arguments))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for each in calls:
            each()


def asked(question: HistoryQuestion, count: int) -> tuple[list[Deferred[Missed]], list[int]]:
    told: list[int] = []
    askers = [question.asker() for _ in range(count)]
    for number, asker in enumerate(askers):
        asker.addCallbacks(lambda _, number=number: told.append(number), lambda _: None)
    return askers, told


def test_a_page_goes_to_some_in_each_turn_and_to_all_in_their_order() -> None:
    clock = Turns()
    question = HistoryQuestion("a", PLACE)
    _, told = asked(question, 250)
    question.answer(SOMETHING, clock)
    for count in (100, 200):
        assert told == [*range(count)]
        clock.turn()
    assert told == [*range(250)]
    assert clock.calls == []


def test_that_nothing_is_missed_is_told_to_all_in_this_turn() -> None:
    question = HistoryQuestion("a", PLACE)
    _, told = asked(question, 250)
    question.answer(NOTHING, Clock())
    assert told == [*range(250)]


def test_who_gave_up_is_told_nothing_and_the_last_one_is_noticed() -> None:
    left: list[None] = []
    question = HistoryQuestion("a", None)
    first, second = (question.asker(lambda: left.append(None)) for _ in range(2))
    for asker in (first, second):
        asker.addErrback(lambda _: None)
    first.cancel()
    assert (question.askers, left) == ([second], [])
    second.cancel()
    assert (question.askers, left) == ([], [None])
    question.answer(SOMETHING, Clock())


def give_up(other: Deferred[Missed], _: object) -> None:
    other.cancel()


def test_one_who_is_told_may_have_another_give_up() -> None:
    for missed in (SOMETHING, NOTHING):
        question = HistoryQuestion("a", PLACE)
        askers, told = asked(question, 3)
        askers[0].addCallback(partial(give_up, askers[1]))
        question.answer(missed, Clock())
        assert told == [0, 2]
