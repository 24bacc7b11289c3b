from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from wsservice.channels import gate as module
from wsservice.channels.gate import MemoryGate
from wsservice.protocol.budget import Budget

TICK = module._TICK_SECONDS


class Gated:
    """A gate, its budget, and who went on."""

    def __init__(self, limit: int = 1000) -> None:
        self.clock = Clock()
        self.budget = Budget(limit, self.clock.seconds)
        self.gate = MemoryGate(self.budget, self.clock)
        self.went: list[tuple[int, bool]] = []

    def turns(self) -> list[int]:
        """Return a list that grows by what went on so far at the start of each turn."""
        turns: list[int] = []
        turn = self.gate._turn

        def counted() -> None:
            turns.append(len(self.went))
            turn()

        self.gate._turn = counted  # type: ignore[method-assign]
        return turns

    def wait(self, count: int) -> list[Any]:
        def went(must: bool, number: int) -> None:
            self.went.append((number, must))

        return [self.gate.wait().addCallback(went, number) for number in range(count)]

    def hold(self, octets: int) -> None:
        self.budget.octets = octets


def test_without_a_limit_it_is_always_open() -> None:
    gated = Gated(0)
    gated.hold(10**12)
    assert gated.gate.is_open


def test_it_is_closed_once_an_eighth_is_left() -> None:
    gated = Gated()
    gated.hold(874)
    assert gated.gate.is_open
    gated.hold(875)
    assert not gated.gate.is_open


def test_some_go_on_in_each_tick_in_their_order() -> None:
    gated = Gated()
    gated.wait(20)
    assert gated.went == []
    gated.clock.advance(TICK)
    assert gated.went == [(number, False) for number in range(8)]
    gated.clock.advance(TICK)
    gated.clock.advance(TICK)
    assert [number for number, _ in gated.went] == list(range(20))
    assert not gated.clock.getDelayedCalls()


def test_without_memory_they_go_on_until_the_budget_is_exceeded() -> None:
    gated = Gated()
    gated.hold(900)
    waiting = gated.wait(4)
    waiting[1].addCallback(lambda _: gated.hold(1001))
    gated.clock.advance(TICK)
    assert gated.went == [(0, True), (1, True)]
    gated.clock.advance(TICK)
    assert len(gated.went) == 2  # those that hold memory give it up first
    gated.hold(900)
    gated.clock.advance(TICK)
    assert len(gated.went) == 4


def test_a_turn_begins_no_more_pages_once_its_time_is_over() -> None:
    gated = Gated()
    turns = gated.turns()

    def page(_: None, number: int) -> None:
        gated.went.append((number, False))
        gated.clock.rightNow += 0.0015  # the time that it takes

    for number in range(5):
        gated.gate.next_turn().addCallback(page, number)
    left = gated.gate.next_turn()
    left.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    gated.clock.advance(0)
    assert [number for number, _ in gated.went] == [0, 1, 2, 3, 4]
    assert turns == [0, 2, 4]
    assert not gated.clock.getDelayedCalls()


def test_one_that_comes_back_has_its_next_turn_later() -> None:
    gated = Gated()
    turns = gated.turns()

    def again(_: None) -> None:
        gated.went.append((1, False))
        gated.gate.next_turn().addCallback(lambda _: gated.went.append((2, False)))

    gated.gate.next_turn().addCallback(again)
    gated.clock.advance(0)
    assert gated.went == [(1, False), (2, False)]
    assert turns == [0, 1]


def test_who_leaves_is_not_there_any_more() -> None:
    gated = Gated()
    first, _ = gated.wait(2)
    first.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    gated.clock.advance(TICK)
    assert gated.went == [(1, False)]
