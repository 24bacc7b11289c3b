"""What is asked of the history in Redis. Who asks the same shares one answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..channels import Position
from ..errors import Away, Unknown
from ..history import Missed
from ..hub.question import Question
from ..log import PeerLogger

ASKED_AT_ONCE = 64
"""Questions that a server is asked before it has answered the first."""

_SOON = 0.05
"""Seconds after which it is asked again what was not answered."""

NOWHERE = Position(0, "")
"""Where a channel is whose history cannot be read."""

_log = PeerLogger(namespace="wsservice")


class Questions:
    """What is asked of one server. `read` asks it, while it is `ready`.

    What fails since the server is away is asked again, once `put` is called.
    """

    def __init__(
        self,
        reactor: Any,
        ready: Callable[[], bool],
        read: Callable[[str, Position | None], Deferred[Missed]],
    ) -> None:
        self._reactor = reactor
        self._ready = ready
        self._read = read
        self._open: dict[tuple[str, Position | None], Question] = {}
        self._waiting: dict[Question, None] = {}
        self._asked = 0
        self._later: IDelayedCall | None = None

    def ask(self, channel: str, since: Position | None) -> Deferred[Missed]:
        """Ask, as soon as that is possible: cancel it to ask no more."""
        question = self._open.get((channel, since))
        if question is None:
            question = self._open[channel, since] = Question(channel, since)
            self._waiting[question] = None
        asker = question.asker(partial(self._abandoned, question))
        self.put()
        return asker

    def put(self) -> None:
        """Ask what waits."""
        while self._waiting and self._asked < ASKED_AT_ONCE and self._ready():
            question = next(iter(self._waiting))
            del self._waiting[question]
            self._asked += 1
            answer = self._read(question.channel, question.since)
            answer.addBoth(self._answered, question)

    def _put_soon(self) -> None:
        """Where the server is still there, or not yet known not to be."""
        if self._later is None and self._ready():
            self._later = self._reactor.callLater(_SOON, self._put_now)

    def _put_now(self) -> None:
        self._later = None
        self.put()

    def _abandoned(self, question: Question) -> None:
        if question in self._waiting:
            # They come and go while the server is away.
            del self._waiting[question]
            self._close(question)

    def _close(self, question: Question) -> None:
        del self._open[question.channel, question.since]

    def _answered(self, answer: Missed | Failure, question: Question) -> None:
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
            answer = Missed((), NOWHERE, gap=question.since not in (None, NOWHERE))
        self._close(question)
        question.answer(answer, self._reactor)
        if self._waiting:
            self.put()
