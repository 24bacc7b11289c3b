"""Questions to workers: what each of them answered, or why it did not."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from ..wire.coding import BusQuestion

T = TypeVar("T")

WITHIN = 1.0
"""Seconds to wait for a worker's answer to a question."""

_REQUESTS = 2**31
"""The count of request numbers; after it they begin at 1 again."""


class Unanswered(enum.Enum):
    """The reason for a missing answer. None is an answer, with another meaning."""

    LATE = "gave no answer within a second"
    """The worker was asked. It may have acted, or may act later."""
    GONE = "ended before it answered"
    """The worker and its connections are gone. It may have acted before."""
    NO_ROOM = "had no room for it"
    """The worker was not asked."""
    TOO_LONG = "takes no message that long"
    """The worker was not asked."""
    REFUSED = "failed to answer, and its log says why"
    """The worker was asked. It may have done a part."""


class Askable(Protocol):
    """A worker, as far as it is used here."""

    def ask(self, question: BusQuestion[T], answered: Callable[[T | Unanswered], None]) -> None:
        """Ask, and call `answered` with the answer or an `Unanswered`."""

    def forget(self, request: int) -> None:
        """Stop waiting for an answer."""


def missing(workers: Sequence[Any], answers: Sequence[Any]) -> list[str]:
    """Return the names of those workers that did not answer."""
    return [
        f"worker {worker.number}"
        for worker, answer in zip(workers, answers, strict=True)
        if isinstance(answer, Unanswered)
    ]


class Requests:
    """Asks several workers at once. `reactor` schedules the timeouts."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._number = 0

    def ask(
        self, workers: Sequence[Askable], question: BusQuestion[T], within: float = WITHIN
    ) -> Deferred[list[T | Unanswered]]:
        """Ask workers a question, and fire with their answers, in the order of `workers`.

        The answer of a worker that does not answer within `within` seconds is an `Unanswered`.
        """

        def put(worker: Any, request: int, answered: Callable[[T | Unanswered], None]) -> None:
            worker.ask(attrs.evolve(question, request=request), answered)

        return self.put(workers, put, within)

    def put(
        self,
        workers: Sequence[Askable],
        put: Callable[[Any, int, Callable[[T | Unanswered], None]], None],
        within: float = WITHIN,
    ) -> Deferred[list[T | Unanswered]]:
        """Ask workers with `put`, called with a worker, a number and a function for the answer."""
        answers: dict[Askable, T | Unanswered] = dict.fromkeys(workers, Unanswered.LATE)
        waiting = list(workers)
        # Never 0, which marks messages without an answer. It must fit in 32 bits.
        self._number = self._number % _REQUESTS + 1
        request = self._number
        done: Deferred[list[T | Unanswered]] = Deferred()

        def end() -> None:
            for each in waiting:
                each.forget(request)
            done.callback(list(answers.values()))

        deadline = self._reactor.callLater(within, end)

        def answered(answer: T | Unanswered, worker: Askable) -> None:
            answers[worker] = answer
            waiting.remove(worker)
            if not waiting:
                deadline.cancel()
                end()

        if not waiting:
            deadline.cancel()
            end()
        for worker in workers:
            put(worker, request, partial(answered, worker=worker))
        return done
