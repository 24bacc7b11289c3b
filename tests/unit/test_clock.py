"""clock.py: lengths of time are measured by a clock that nobody sets."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python import runtime

from wsservice.clock import monotonic_of, use_monotonic, wall_of
from wsservice.net.gathering import Gathering
from wsservice.net.timers import Timers

from ..needs import need

HOUR = 3600.0

REACTORS = [
    "selectreactor.SelectReactor",
    "pollreactor.PollReactor",
    "epollreactor.EPollReactor",
    "asyncioreactor.AsyncioSelectorReactor",
]


class Wall:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The clock of Twisted's reactors, to be set."""
    wall = Wall()
    monkeypatch.setattr(runtime, "seconds", wall)
    return wall


@pytest.fixture(params=REACTORS)
def reactor(request: pytest.FixtureRequest, wall: Wall) -> Iterator[Any]:
    """A reactor that is turned by hand, and not installed."""
    module, _, name = request.param.partition(".")
    try:
        made = getattr(importlib.import_module(f"twisted.internet.{module}"), name)
    except (ImportError, AttributeError):
        need(False, request.param)
    loop = asyncio.new_event_loop() if module == "asyncioreactor" else None
    reactor = made() if loop is None else made(loop)
    reactor.seconds = wall  # as all of them have it by their class
    yield reactor
    # Twisted's own tests end one so.
    for reader in tuple(reactor._internalReaders):
        reactor.removeReader(reader)
        reader.connectionLost(None)
    ends: list[Any] = [loop, getattr(reactor, "_poller", None)]
    for each in ends:
        if hasattr(each, "close"):  # poll's has nothing to close
            each.close()


def turn(reactor: Any, seconds: float, until: list[Any]) -> None:
    """Have it work until something is there, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    while not until and time.monotonic() < deadline:
        loop = getattr(reactor, "_asyncioEventloop", None)
        if loop is not None:
            loop.run_until_complete(asyncio.sleep(0.01))
        else:
            reactor.runUntilCurrent()
            reactor.doIteration(min(0.01, reactor.timeout() or 0.01))


def test_a_reactor_calls_in_time_though_the_clock_is_set_back(reactor: Any, wall: Wall) -> None:
    use_monotonic(reactor)
    called: list[str] = []
    reactor.callLater(0.05, called.append, "x")
    wall.ahead = -HOUR
    turn(reactor, 10, called)
    assert called == ["x"]


def test_a_reactor_does_not_call_early_as_the_clock_is_set_forward(
    reactor: Any, wall: Wall
) -> None:
    use_monotonic(reactor)
    early: list[str] = []
    reactor.callLater(600, early.append, "x")
    wall.ahead = HOUR
    turn(reactor, 0.1, early)
    assert early == []


def test_what_is_scheduled_already_keeps_the_time_that_is_left(reactor: Any, wall: Wall) -> None:
    called: list[str] = []
    # A cancelled call stays in the heap, of which it is the root.
    cancelled = reactor.callLater(0.01, called.append, "never")
    later = reactor.callLater(HOUR, called.append, "later")
    soon = reactor.callLater(0.05, called.append, "soon")
    reactor.timeout()  # two are in the heap, and one is not yet
    cancelled.cancel()
    reset = reactor.callLater(HOUR, called.append, "reset")
    use_monotonic(reactor)
    use_monotonic(reactor)
    assert reactor.seconds is time.monotonic
    assert later.getTime() - time.monotonic() == pytest.approx(HOUR, abs=1)
    assert soon.getTime() - time.monotonic() == pytest.approx(0.05, abs=1)
    wall.ahead = -HOUR
    turn(reactor, 10, called)
    assert called == ["soon"]
    called.clear()
    reset.reset(0.05)
    turn(reactor, 10, called)
    assert called == ["reset"]


def test_a_reactor_with_a_clock_of_its_own_keeps_it() -> None:
    clock = Clock()
    use_monotonic(clock)
    assert clock.seconds() == 0
    assert monotonic_of(clock)() == wall_of(clock)() == 0


def test_each_clock_of_a_reactor_before_and_after(reactor: Any) -> None:
    assert monotonic_of(reactor) is time.monotonic
    assert wall_of(reactor) is time.time
    use_monotonic(reactor)
    assert monotonic_of(reactor) is time.monotonic
    assert wall_of(reactor) is time.time


def test_twisted_measures_with_the_wall_clock_still() -> None:
    # When it does not any more, `use_monotonic` has nothing to do.
    from twisted.internet.base import ReactorBase

    assert ReactorBase.seconds is runtime.seconds is time.time


def test_timers_beside_a_reactor_of_somebody_else(reactor: Any, wall: Wall) -> None:
    timers = Timers(reactor)
    early: list[str] = []
    timers.call_later(600, lambda: early.append("early"))
    wall.ahead = HOUR
    turn(reactor, 0.1, early)
    assert early == []


def test_timers_that_are_late_are_asked_for_as_soon_as_another_one_is_set(
    reactor: Any, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    timers = Timers(reactor)
    timers.call_later(0.05, lambda: called.append("late"))
    wall.ahead = -HOUR
    turn(reactor, 0.2, called)
    assert called == []
    monkeypatch.setattr("wsservice.net.timers._LATE_SECONDS", 0.1)
    timers.call_later(HOUR, lambda: called.append("never"))
    turn(reactor, 10, called)
    assert called == ["late"]


def test_the_poller_measures_with_that_of_its_reactor(reactor: Any) -> None:
    from wsservice.net.polling import Poller
    from wsservice.net.turns import Turns

    try:
        poller = Poller(reactor, Turns(reactor, Gathering()))
    except AttributeError:
        need(False, "epoll")
    poller._epoll.close()
    assert poller._seconds is time.monotonic
