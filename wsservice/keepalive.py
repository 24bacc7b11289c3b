"""Whether the peer of a connection is still there."""

from __future__ import annotations

from collections.abc import Callable

from .reading import Hold, Reading
from .timers import Timer


class KeepAlive(Reading):
    """Asks for a sign of life when there was no traffic, and drops who gives none.

    To be mixed in before Autobahn's protocol. Autobahn's own would ping also
    where there is traffic, and keep two timers for each connection.
    """

    # Autobahn's
    STATE_OPEN: int
    wasNotCleanReason: str
    sendPing: Callable[[], None]
    dropConnection: Callable[..., None]

    _keepalive: Timer | None = None
    _pinged_at: float | None = None

    #: Seconds from the last ping to its answer, None as long as there was none.
    rtt: float | None = None

    def _keep_alive(self) -> None:
        if self._limits.ping_interval:
            self._watch(self._limits.ping_interval)

    def _stop_keep_alive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None

    def _watch(self, delay: float) -> None:
        self._keepalive = self.factory._batched_timer.call_later(delay, self._check_life)

    def _ponged(self) -> None:
        if self._pinged_at is not None:
            self.rtt = max(0.0, self._last_life - self._pinged_at)
            self._pinged_at = None

    def _check_life(self) -> None:
        if self.state != self.STATE_OPEN:
            return
        interval = self._limits.ping_interval
        if not interval:  # it was switched off meanwhile
            self._keepalive = self._pinged_at = None
            return
        now = self._seconds()
        idle = now - self._last_life
        silent = self._pinged_at is not None and self._last_life <= self._pinged_at
        if self._holds & ~Hold.OUTPUT:
            self._watch(interval)  # it is not the peer who is silent: we do not listen
        elif silent and self._limits.ping_timeout:
            self.wasNotCleanReason = "no sign of life since a ping"
            self.dropConnection(abort=True)
        elif idle < interval:
            self._pinged_at = None
            self._watch(interval - idle)
        else:
            self._pinged_at = now
            self.sendPing()
            self._watch(self._limits.ping_timeout or interval)
