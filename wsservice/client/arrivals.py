"""Which of the messages that were sent have arrived."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

_ASK = 1.0
"""Seconds after which a server is asked whether it has what was sent to it."""


class Line(Protocol):
    """What is needed of a connection."""

    def ping(self) -> Deferred[float]:
        """Fires when all that was sent before has arrived."""


class Arrivals:
    """Counts what a connection took, and what of it a pong says has arrived.

    Where something was sent, it is asked for a second later, and not again
    before that was answered: many messages cost no more pings than few.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._line: Line | None = None
        self._sent = 0
        self._arrived = 0
        self._asked = False
        self._next_question: IDelayedCall | None = None

    def begin(self, line: Line) -> None:
        """There is a connection."""
        self._line = line
        self._asked = False

    def sent(self, count: int = 1) -> None:
        """The connection took so many messages."""
        self._sent += count
        self._ask_later()

    def lost(self) -> int:
        """The connection is over: so many messages are not known to have arrived."""
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
        # Where the connection ends, whoever knows it tells us.
        line.ping().addCallbacks(answered, lambda _: None)
