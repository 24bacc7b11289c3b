"""The timers of all connections on one of the reactor's.

Each connection waits for something at any time: its handshake, a sign of life,
its end. A timer of the reactor is compared in Python, and is half a kilobyte.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .log import PeerLogger

_log = PeerLogger(namespace="wsservice")

_EARLY = 1e-6
"""Seconds that a timer may fire too early: what the sums of floating point lose."""

_SLICE = 0.004
"""Seconds after which the rest of those that are due waits for the reactor's next turn."""

_SPARE = 64
"""Cancelled timers that are kept beside as many as there are of others."""


class Timer:
    """One that was set; what Autobahn needs of `IDelayedCall`."""

    __slots__ = ("_timers", "function")

    def __init__(self, timers: Timers, function: Callable[[], object]) -> None:
        self._timers = timers
        self.function: Callable[[], object] | None = function

    def active(self) -> bool:
        """Whether it will still fire."""
        return self.function is not None

    def cancel(self) -> None:
        """It will not fire. Once is enough, more does no harm."""
        if self.function is not None:
            self.function = None
            self._timers.one_less()


class Timers:
    """Sets timers on a reactor, by the name that Autobahn has for it."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._active = 0
        self._call: IDelayedCall | None = None
        self._call_at = math.inf

    def call_later(self, delay: float, function: Callable[[], object]) -> Timer:
        """Call a function once, in `delay` seconds. What it raises is logged."""
        timer = Timer(self, function)
        when = self._reactor.seconds() + delay
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        self._active += 1
        if when < self._call_at:
            self._call_at_next()
        return timer

    def one_less(self) -> None:
        """A timer was cancelled."""
        self._active -= 1
        if not self._active:
            self._heap.clear()
            self._call_at_next()
        elif len(self._heap) > 2 * self._active + _SPARE:
            self._heap = [each for each in self._heap if each[2].active()]
            heapq.heapify(self._heap)

    def _call_at_next(self) -> None:
        if self._call_at == -math.inf:
            return  # in the middle of `_fire`, which does this at its end
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._call_at = self._heap[0][0] if self._heap else math.inf
        if self._heap:
            delay = max(0, self._call_at - self._reactor.seconds())
            self._call = self._reactor.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._call = None
        self._call_at = -math.inf
        began = self._reactor.seconds()
        now = began + _EARLY
        while self._heap and self._heap[0][0] <= now and self._reactor.seconds() < began + _SLICE:
            timer = heapq.heappop(self._heap)[2]
            function, timer.function = timer.function, None
            if function is not None:
                self._active -= 1
                try:
                    function()
                except Exception:
                    _log.failure("a timer failed")
        self._call_at = math.inf
        self._call_at_next()
