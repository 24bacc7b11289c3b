"""Find out whether the peer of a connection is still there."""

from __future__ import annotations

from typing import Protocol

from ..config.close_codes import CloseCode
from ..net.timers import Timer
from .common import Common
from .owner import OPEN, Hold, Owner


class PingingOwner(Owner, Protocol):
    """A connection, as its `KeepAlive` sees it."""

    def sendPing(self) -> object:
        """Send a ping."""


class SignsOfLife(Protocol):
    """A `Reader`: when the peer gave a sign of life, and whether it is read."""

    holds: int
    last_life: float


class KeepAlive:
    """Pings a peer that has sent nothing for a while, and closes with 1011 without an answer.

    Autobahn's own code pings during traffic too, and keeps two timers for each connection.
    """

    __slots__ = ("_common", "_connection", "_pinged_at", "_reader", "_timer", "rtt", "timed_out")

    def __init__(self, connection: PingingOwner, reader: SignsOfLife, common: Common) -> None:
        self._connection = connection
        self._reader = reader
        self._common = common
        self._pinged_at: float | None = None
        self._timer: Timer | None = None
        #: True if the connection was failed because the peer gave no sign of life.
        self.timed_out = False
        #: Seconds from the last ping to its answer, None before the first answer.
        self.rtt: float | None = None
        self._watch(common.limits.ping_interval)

    def ponged(self) -> None:
        """Measure the time to an answer."""
        if self._pinged_at is not None:
            self.rtt = max(0.0, self._reader.last_life - self._pinged_at)
            self._pinged_at = None

    def stop(self) -> None:
        """Stop pinging, and let go of the connection. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            del self._connection

    def _watch(self, delay: float) -> None:
        # This object is the timer's function itself: a bound method would take 64 octets.
        self._timer = self._connection.factory._batched_timer.call_later(delay, self)

    def __call__(self) -> None:
        """Look for a sign of life since the last look."""
        connection, reader, limits = self._connection, self._reader, self._common.limits
        if connection.state != OPEN:
            return
        # Read anew each time, since a reload may change it.
        interval = limits.ping_interval
        if not interval:  # a reload switched it off meanwhile
            self._pinged_at = None
            return
        now = self._common.seconds()
        idle = now - reader.last_life
        silent = self._pinged_at is not None and reader.last_life <= self._pinged_at
        if reader.holds & ~Hold.OUTPUT:
            self._watch(interval)  # the peer may speak, but is not being read
        elif silent and limits.ping_timeout:
            self.timed_out = True
            connection.fail_connection(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            # A dead peer does not read the close frame, and never ends its side of TCP.
            connection.drop_later(otherwise=limits.ping_timeout)
        elif idle < interval:
            self._pinged_at = None
            self._watch(interval - idle)
        else:
            self._pinged_at = now
            connection.sendPing()
            self._watch(limits.ping_timeout or interval)
