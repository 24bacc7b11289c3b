from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from wsservice.client.gate import Gate


class Doing:
    """A gate, and what was done behind it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.done: list[str] = []

    def enter(self, what: str) -> Deferred[None]:
        return self.gate.enter(lambda: self.done.append(what))


@pytest.fixture
def doing() -> Doing:
    return Doing()


def outcome(entered: Deferred[Any]) -> list[Any]:
    outcome: list[Any] = []
    entered.addBoth(outcome.append)
    return outcome


def test_while_there_is_room_nobody_waits(doing: Doing) -> None:
    assert outcome(doing.enter("a")) == [None]
    assert doing.done == ["a"]


def test_who_comes_while_there_is_none_waits_in_order(doing: Doing) -> None:
    doing.gate.pauseProducing()
    outcomes = [outcome(doing.enter(each)) for each in "abc"]
    assert (doing.done, outcomes) == ([], [[], [], []])
    doing.gate.resumeProducing()
    assert (doing.done, outcomes) == ([*"abc"], [[None], [None], [None]])


def test_who_comes_later_does_not_overtake(doing: Doing) -> None:
    doing.gate.pauseProducing()
    doing.enter("a").addCallback(lambda _: outcome(doing.enter("c")))
    doing.enter("b")
    doing.gate.resumeProducing()
    assert doing.done == [*"abc"]


def test_room_may_end_in_between(doing: Doing) -> None:
    doing.gate.pauseProducing()
    doing.enter("a").addCallback(lambda _: doing.gate.pauseProducing())
    second = outcome(doing.enter("b"))
    doing.gate.resumeProducing()
    assert (doing.done, second) == (["a"], [])
    doing.gate.resumeProducing()
    assert (doing.done, second) == (["a", "b"], [None])


def test_one_that_is_cancelled_does_not_act(doing: Doing) -> None:
    doing.gate.pauseProducing()
    entered = doing.enter("a")
    result = outcome(entered)
    entered.cancel()
    doing.gate.resumeProducing()
    assert doing.done == []
    assert result[0].check(CancelledError)


@pytest.mark.parametrize("paused", [False, True])
def test_what_an_act_raises_is_its_outcome(doing: Doing, paused: bool) -> None:
    def act() -> None:
        raise KeyError("no")

    if paused:
        doing.gate.pauseProducing()
    result = outcome(doing.gate.enter(act))
    second = outcome(doing.enter("b"))
    doing.gate.resumeProducing()
    assert result[0].check(KeyError)
    assert second == [None]


def test_shut_it_gives_each_an_error_of_its_own(doing: Doing) -> None:
    doing.gate.pauseProducing()
    results = [outcome(doing.enter(each)) for each in "ab"]
    doing.gate.shut(lambda: KeyError("over"))
    doing.gate.stopProducing()
    doing.gate.resumeProducing()
    results.append(outcome(doing.enter("c")))
    assert all(result[0].check(KeyError) for result in results)
    assert len({id(result[0].value) for result in results}) == 3
    assert doing.done == []
