"""Measure the lag of the reactor: how much later than due it makes a call."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.task import LoopingCall

from ..clock import monotonic_of
from ..metrics import Histogram

_EVERY = 0.25
"""Seconds between two measurements."""

_LATELY = 40
"""The measurements that `lately` covers: those of ten seconds."""


class Lag:
    """Measure a reactor's lag while it runs. `seconds` is the histogram of all measurements."""

    def __init__(self, reactor: Any) -> None:
        self.seconds = Histogram()
        self._latest: deque[float] = deque(maxlen=_LATELY)
        self._monotonic = monotonic_of(reactor)
        self._due = 0.0
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def start(self) -> None:
        """Start to measure. Idempotent."""
        if not self._loop.running:
            self._due = self._monotonic() + _EVERY
            self._loop.start(_EVERY, now=False)

    def stop(self) -> None:
        """Stop measuring. Idempotent."""
        if self._loop.running:
            self._loop.stop()

    @property
    def lately(self) -> float:
        """The largest lag of the last ten seconds, in seconds; 0.0 before the first measurement."""
        return max(self._latest, default=0.0)

    def _look(self) -> None:
        late = self._monotonic() - self._due
        self.seconds.observe(late)
        self._latest.append(max(0.0, late))
        # The schedule stays fixed, so that one late call does not make later calls look early.
        # Calls that were missed are left out.
        self._due += _EVERY * (1 + max(0, int(late / _EVERY)))
