"""Ask other nodes questions."""

from __future__ import annotations

import enum
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..errors import Away
from .checking import MalformedError
from .questions import Answered, Question, asked

WITHIN = 2.0
"""Seconds that a node has to answer."""

T = TypeVar("T")


class Unheard(enum.Enum):
    """The reason why an answer is missing."""

    NOBODY = "nobody"
    """The question did not arrive: no node listens there, or the broker is down."""
    LATE = "late"
    """No valid answer came in time, or it is unknown whether the question arrived."""
    WRONG = "wrong"
    """The node does not understand the question."""


ANSWERED = "answered"

Publish = Callable[[str, bytes], Deferred[int]]
"""Send octets to a node. Fires with the number of receivers."""

Own = Callable[[Question[Any]], Awaitable[Mapping[str, Any]]]
"""Answer a question for this node."""


@attrs.define(eq=False)
class _Pending:
    node: str
    question: Question[Any]
    done: Deferred[Any]
    deadline: Any


class Asking:
    """Ask nodes questions: others by `publish`, and this one, named `node`, by `own`."""

    def __init__(self, node: str, publish: Publish, own: Own, reactor: Any) -> None:
        self.node = node
        self._publish = publish
        self._own = own
        self._reactor = reactor
        self._pending: dict[str, _Pending] = {}
        #: Questions to others, by what became of them.
        self.outcomes = Counter(dict.fromkeys((ANSWERED, *(each.value for each in Unheard)), 0))

    async def ask(self, questions: Mapping[str, Question[T]]) -> dict[str, T | Unheard]:
        """Ask each node its question, all at once. Return the answers by node, within `WITHIN`."""
        others = {node: each for node, each in questions.items() if node != self.node}
        waiting = {node: self._ask(node, each) for node, each in others.items()}
        answers: dict[str, T | Unheard] = {}
        for node, question in questions.items():
            if node == self.node:
                answers[node] = question.answer_of(await self._own(question))
            else:
                answers[node] = await waiting[node]
        return answers

    def _ask(self, node: str, question: Question[Any]) -> Deferred[Any]:
        id_ = secrets.token_hex(16)
        deadline = self._reactor.callLater(WITHIN, self._settle, id_, Unheard.LATE)
        done: Deferred[Any] = Deferred()
        self._pending[id_] = _Pending(node, question, done, deadline)

        def published(count: int) -> None:
            if not count:
                self._settle(id_, Unheard.NOBODY)

        def failed(failure: Failure) -> None:
            self._settle(id_, Unheard.NOBODY if failure.check(Away) else Unheard.LATE)

        self._publish(node, asked(self.node, id_, question)).addCallbacks(published, failed)
        return done

    def heard(self, answer: Answered) -> None:
        """Take an answer from a node. Raises `MalformedError` for an invalid one.

        An answer that nobody waits for any more is ignored.
        """
        pending = self._pending.get(answer.id)
        if pending is None:
            return
        if pending.node != answer.sender:
            raise MalformedError("an answer of a node that was not asked")
        if answer.said is None:
            self._settle(answer.id, Unheard.WRONG)
            return
        try:
            value = pending.question.answer_of(answer.said)
        except MalformedError:
            self._settle(answer.id, Unheard.LATE)
            raise
        self._settle(answer.id, value)

    def end(self) -> None:
        """Give up on all answers."""
        for id_ in tuple(self._pending):
            self._settle(id_, Unheard.LATE)

    def _settle(self, id_: str, outcome: Any) -> None:
        pending = self._pending.pop(id_, None)
        if pending is None:
            return
        self.outcomes[outcome.value if isinstance(outcome, Unheard) else ANSWERED] += 1
        if pending.deadline.active():
            pending.deadline.cancel()
        pending.done.callback(outcome)
