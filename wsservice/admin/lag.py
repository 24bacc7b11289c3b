"""How late the reactor is: how much later than asked for it calls."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.task import LoopingCall

from ..counting import Histogram

_EVERY = 0.25
"""Seconds from one look to the next."""

_LATELY = 40
"""So many looks are what it was like lately."""


class Lag:
    """Measures a reactor's lag while it runs, in `seconds`, a histogram."""

    def __init__(self, reactor: Any) -> None:
        self.seconds = Histogram()
        self._latest: deque[float] = deque(maxlen=_LATELY)
        self._reactor = reactor
        self._due = 0.0
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def start(self) -> None:
        """Measure from now on. Once is enough, more does no harm."""
        if not self._loop.running:
            self._due = self._reactor.seconds() + _EVERY
            self._loop.start(_EVERY, now=False)

    def stop(self) -> None:
        """Measure no more. Once is enough, more does no harm."""
        if self._loop.running:
            self._loop.stop()

    @property
    def lately(self) -> float:
        """The worst of the last ten seconds, in seconds."""
        return max(self._latest, default=0.0)

    def _look(self) -> None:
        late = self._reactor.seconds() - self._due
        self.seconds.observe(late)
        self._latest.append(max(0.0, late))
        # The next call is due when it would have been, were this one not late; those
        # that were missed are left out.
        self._due += _EVERY * (1 + max(0, int(late / _EVERY)))
