"""Ask the history in Redis. Equal questions share one answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..channels.history import Missed
from ..channels.query import Latest, Position
from ..channels.question import HistoryQuestion
from ..errors import Away, Unknown
from ..log.peer import PeerLogger

ASKED_AT_ONCE = 64
"""The most questions to a server that have no answer yet.

Thousands of connections come back at once after a restart. Published messages must not wait behind
all of their questions.
"""

_SOON = 0.05
"""Seconds until an unanswered question is asked again."""

NOWHERE = Position(0, "")
"""The position of a channel whose history cannot be read."""

_log = PeerLogger(namespace="wsservice")


class ServerQuestions:
    """The questions to one server. `read` asks it a question, while `ready` returns True.

    Questions that fail because the server is away are asked again once `put` is called.
    """

    def __init__(
        self,
        reactor: Any,
        ready: Callable[[], bool],
        read: Callable[[str, Position | Latest | None], Deferred[Missed]],
    ) -> None:
        self._reactor = reactor
        self._ready = ready
        self._read = read
        self._open: dict[tuple[str, Position | Latest | None], HistoryQuestion] = {}
        self._waiting: dict[HistoryQuestion, None] = {}
        self._asked = 0
        self._later: IDelayedCall | None = None

    def ask(self, channel: str, since: Position | Latest | None) -> Deferred[Missed]:
        """Return a Deferred of the messages of a channel since a position, or of its latest ones.

        With None it asks for the current position only. Cancel the Deferred to stop asking.
        """
        question = self._open.get((channel, since))
        if question is None:
            question = self._open[channel, since] = HistoryQuestion(channel, since)
            self._waiting[question] = None
        asker = question.asker(partial(self._abandoned, question))
        self.put()
        return asker

    def put(self) -> None:
        """Ask the waiting questions, up to the limit."""
        while self._waiting and self._asked < ASKED_AT_ONCE and self._ready():
            question = next(iter(self._waiting))
            del self._waiting[question]
            self._asked += 1
            answer = self._read(question.channel, question.since)
            answer.addBoth(self._answered, question)

    def _put_soon(self) -> None:
        """Ask again soon, if the server is still connected or not known to be away."""
        if self._later is None and self._ready():
            self._later = self._reactor.callLater(_SOON, self._put_now)

    def _put_now(self) -> None:
        self._later = None
        self.put()

    def _abandoned(self, question: HistoryQuestion) -> None:
        if question in self._waiting:
            # Connections come and go while the server is away. Their questions must not pile up.
            del self._waiting[question]
            self._close(question)

    def _close(self, question: HistoryQuestion) -> None:
        del self._open[question.channel, question.since]

    def _answered(self, answer: Missed | Failure, question: HistoryQuestion) -> None:
        self._asked -= 1
        if isinstance(answer, Failure):
            if answer.check(Away, Unknown):
                if question.askers:
                    self._waiting[question] = None
                    self._put_soon()
                else:
                    self._close(question)
                return
            _log.error(
                "the history of {channel} cannot be read: {why}",
                channel=question.channel,
                why=answer.getErrorMessage(),
            )
            # A gap, not an error: the connection goes on with new messages, and the client knows
            # that some are missing.
            answer = Missed((), NOWHERE, gap=question.since not in (None, NOWHERE))
        self._close(question)
        question.answer(answer, self._reactor)
        if self._waiting:
            self.put()
