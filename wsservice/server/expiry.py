"""Close a connection when its user's credential ends, unless it was renewed."""

from __future__ import annotations

from typing import Any

from ..config.close_codes import CloseCode
from ..net.timers import Timer

REASON = "expired"
"""The reason of the close frame."""

_LONGEST_SECONDS = 600.0
"""Seconds until the clock is looked at again, since it may be set, and the machine suspended."""


class Expiry:
    """The end of one connection's credential. A connection whose user stays for ever has none."""

    __slots__ = ("_connection", "_ends", "_timer")

    def __init__(self, connection: Any, ends: float) -> None:
        self._connection = connection
        self._timer: Timer | None = None
        self.change(ends)

    def change(self, ends: float) -> None:
        """Set the time of the end, in seconds since 1970."""
        self._ends = ends
        self.stop()
        self._watch()

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        connection = self._connection
        left = self._ends - connection._common.wall()
        delay = min(max(0.0, left), _LONGEST_SECONDS)
        # The object itself is the function, as that of `KeepAlive`.
        self._timer = connection.factory._batched_timer.call_later(delay, self)

    def __call__(self) -> None:
        """Close the connection if its time has come."""
        self._timer = None
        if self._connection._common.wall() < self._ends:
            self._watch()
        else:
            self._connection.fail_connection(CloseCode.POLICY_VIOLATION, REASON)
