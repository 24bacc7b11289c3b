"""Run the timers of all connections on one timer of the reactor.

At any time each connection waits for something: its handshake, a sign of life, its end. Timers of
the reactor are compared in Python, and three of them for each connection would take half a
kilobyte.

See docs/decisions/timers.md.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..clock import monotonic_of
from ..log.peer import PeerLogger

_log = PeerLogger(namespace="wsservice")

_EARLY_SECONDS = 1e-6
"""Seconds that a timer may fire too early: sums of floating-point numbers lose that much."""

_LATE_SECONDS = 1.0
"""Seconds that a call of the reactor may be late before another one is scheduled."""

_SLICE_SECONDS = 0.004
"""Seconds after which the other due timers wait for the reactor's next turn.

Dropping 200 stalled handshakes at once made a turn of 11 ms.
"""

_SPARE_TIMERS = 64
"""Cancelled timers that may stay in the heap beyond the number of active ones.

So cancelling costs nothing, and the heap is at most about twice as large as it must be.
"""


class Timer:
    """A timer, with the two methods of `IDelayedCall` that Autobahn calls."""

    __slots__ = ("_timers", "function")

    def __init__(self, timers: Timers, function: Callable[[], object]) -> None:
        self._timers = timers
        self.function: Callable[[], object] | None = function

    def active(self) -> bool:
        """Return True if the timer will still fire."""
        return self.function is not None

    def cancel(self) -> None:
        """Keep the timer from firing. Idempotent."""
        if self.function is not None:
            self.function = None
            self._timers.one_less()


class Timers:
    """Sets timers on a reactor. The method's name is Autobahn's."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._seconds = monotonic_of(reactor)
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._active = 0
        self._call: IDelayedCall | None = None
        self._call_at = math.inf

    def call_later(self, delay: float, function: Callable[[], object]) -> Timer:
        """Call a function once, in `delay` seconds, and return its timer. Its errors are logged."""
        timer = Timer(self, function)
        now = self._seconds()
        when = now + delay
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        self._active += 1
        # The second condition: a reactor calls late after its clock was set back (see `clock`).
        if when < self._call_at or self._call_at < now - _LATE_SECONDS:
            self._call_at_next()
        return timer

    def one_less(self) -> None:
        """Take note that a timer was cancelled."""
        self._active -= 1
        if not self._active:
            self._heap.clear()
            self._call_at_next()
        elif len(self._heap) > 2 * self._active + _SPARE_TIMERS:
            self._heap = [each for each in self._heap if each[2].active()]
            heapq.heapify(self._heap)

    def _call_at_next(self) -> None:
        if self._call_at == -math.inf:
            return  # `_fire` is running, and does this at its end
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._call_at = self._heap[0][0] if self._heap else math.inf
        if self._heap:
            delay = max(0, self._call_at - self._seconds())
            self._call = self._reactor.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._call = None
        # Earlier than any timer, so that timers set by the functions below schedule no call each.
        self._call_at = -math.inf
        began = self._seconds()
        now = began + _EARLY_SECONDS
        while self._heap and self._heap[0][0] <= now and self._seconds() < began + _SLICE_SECONDS:
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
