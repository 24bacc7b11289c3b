"""timers.py: many timers on one of the reactor's fire when each would alone."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice.net.timers import Timer, Timers

from ...support import Logged


def test_to_the_moment_on_the_reactor_it_was_given() -> None:
    clock = Clock()
    fired: list[float] = []
    timer = Timers(clock).call_later(1.5, lambda: fired.append(clock.seconds()))
    clock.advance(1.4)
    assert fired == []
    assert timer.active()
    clock.advance(0.1)
    assert fired == [1.5]
    assert not timer.active()
    timer.cancel()
    assert clock.getDelayedCalls() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 50)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(STEPS)
def test_as_the_reactors_own(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    timers = Timers(clock)
    ours: list[Any] = []
    theirs: list[Any] = []
    both: list[tuple[Timer, Any]] = []

    def fired(whose: list[Any], number: int) -> None:
        whose.append((clock.seconds(), number))

    for number, (what, value) in enumerate(steps):
        if what == "set":
            mine = timers.call_later(value, partial(fired, ours, number))
            both.append((mine, clock.callLater(value, fired, theirs, number)))
        elif what == "cancel" and value < len(both):
            for each in both[value]:
                if each.active():
                    each.cancel()
        elif what == "wait":
            clock.pump([1] * value)
        assert [a.active() for a, _ in both] == [b.active() for _, b in both]
    clock.pump([1] * 60)
    assert sorted(ours) == sorted(theirs)
    assert clock.getDelayedCalls() == []


def test_only_one_of_the_reactors_is_used() -> None:
    clock = Clock()
    timers = Timers(clock)
    for delay in range(1000, 0, -1):
        timers.call_later(delay, lambda: None)
    assert len(clock.getDelayedCalls()) == 1


def test_cancelled_ones_are_forgotten() -> None:
    class Function:
        def __call__(self) -> None:
            """Nothing."""

    clock = Clock()
    timers = Timers(clock)
    kept = timers.call_later(10, lambda: None)
    for _ in range(10_000):
        timers.call_later(5, lambda: None).cancel()
    assert len(timers._heap) < 100
    function = Function()
    gone = weakref.ref(function)
    gc.disable()
    try:
        timer = timers.call_later(5, function)
        del function
        timer.cancel()
        assert gone() is None
    finally:
        gc.enable()
    assert kept.active()


def test_one_may_set_and_cancel_others_when_it_fires() -> None:
    clock = Clock()
    timers = Timers(clock)
    fired: list[str] = []
    other = timers.call_later(1, lambda: fired.append("other"))

    def first() -> None:
        fired.append("first")
        other.cancel()
        timers.call_later(1, lambda: fired.append("later"))

    timers.call_later(0.5, first)
    clock.advance(1)
    assert fired == ["first"]
    clock.advance(1)
    assert fired == ["first", "later"]
    assert clock.getDelayedCalls() == []


def test_one_that_raises_keeps_no_other_from_firing(logged: Logged) -> None:
    clock = Clock()
    timers = Timers(clock)
    fired: list[int] = []
    timers.call_later(1, lambda: 1 // 0)
    timers.call_later(1, lambda: fired.append(1))
    timers.call_later(2, lambda: fired.append(2))
    clock.advance(1)
    assert fired == [1]
    clock.advance(1)
    assert fired == [1, 2]
    assert len(logged.failures) == 1


def test_many_that_are_due_at_once_are_worked_off_in_slices() -> None:
    clock = Clock()
    timers = Timers(clock)
    fired: list[float] = []

    def work() -> None:
        fired.append(clock.seconds())
        clock.rightNow += 0.0011

    for _ in range(10):
        timers.call_later(1, work)
    turns: list[int] = []
    call_later = clock.callLater

    def watched(delay: float, function: Any, *args: Any) -> Any:
        turns.append(len(fired))
        return call_later(delay, function, *args)

    clock.callLater = watched  # type: ignore[assignment]
    clock.advance(1)
    assert len(fired) == 10
    assert turns == [4, 8]
