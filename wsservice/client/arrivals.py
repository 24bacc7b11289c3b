"""Track which sent messages have arrived at the server."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

_ASK = 1.0
"""Seconds after sending until a ping asks whether the messages have arrived."""


class Line(Protocol):
    """A connection that answers pings."""

    def ping(self) -> Deferred[float]:
        """Send a ping. Fires when its pong comes: all that was sent before has then arrived."""


class Arrivals:
    """Count the messages that a connection took, and those that a pong confirms.

    A ping follows a second after a message, and no other ping before its pong: many messages cost
    no more pings than few.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._line: Line | None = None
        self._sent = 0
        self._arrived = 0
        self._asked = False
        self._next_question: IDelayedCall | None = None

    def begin(self, line: Line) -> None:
        """Start to count for a new connection."""
        self._line = line
        self._asked = False

    def sent(self, count: int = 1) -> None:
        """Count messages that the connection took."""
        self._sent += count
        self._ask_later()

    def lost(self) -> int:
        """Stop counting: the connection ended. Return the number of messages not confirmed."""
        if self._next_question is not None:
            self._next_question.cancel()
            self._next_question = None
        count = self._sent - self._arrived
        self._line = None
        self._sent = self._arrived = 0
        return count

    def _ask_later(self) -> None:
        if not self._asked and self._next_question is None and self._sent > self._arrived:
            self._next_question = self._reactor.callLater(_ASK, self._ask, self._line)

    def _ask(self, line: Line) -> None:
        sent = self._sent
        self._next_question = None

        def answered(_: float) -> None:
            if self._line is line:
                self._asked = False
                self._arrived = sent
                self._ask_later()

        self._asked = True
        # The error is ignored: the owner of the connection calls `lost` when it ends.
        line.ping().addCallbacks(answered, lambda _: None)
