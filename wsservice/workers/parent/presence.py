"""The connections on a channel, in all workers: a worker's question, asked of each."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...channels.presence import Ask, Presence
from ...channels.users import together
from ..wire.coding import BusQuestion
from ..wire.orders import PresenceTold, TellPresence
from ..wire.reports import AskPresence
from .requests import Unanswered, missing
from .sharing import SILENT

T = TypeVar("T")

_log = Logger(namespace="wsservice")


class PresenceWorker(Protocol):
    """A worker, as far as it gets answers here."""

    bus: Any


class Workers(Protocol):
    """A supervisor, as far as it is used here."""

    def serving(self) -> list[Any]:
        """Return the workers that may have connections."""

    def ask(self, workers: Any, question: BusQuestion[T]) -> Deferred[list[T | Unanswered]]:
        """Ask workers a question, and fire with their answers."""


class PresenceAnswers:
    """Answers workers. It calls `ask`, which asks the whole service."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def asked(self, worker: PresenceWorker, message: AskPresence) -> None:
        """Answer a worker's question about the connections on a channel."""

        def answer(presence: Presence | None) -> None:
            said = None if presence is None else presence.as_json()
            worker.bus.say(PresenceTold(message.request, said))

        def failed(failure: Failure) -> None:
            _log.failure("cannot list the connections on a channel", failure)
            answer(None)

        asked = self._ask(message.channel, message.limit)
        asked.addCallback(answer).addErrback(failed)


def of_workers(workers: Workers) -> Ask:
    """Return a function that asks all workers for the connections on a channel."""

    def ask(channel: str, limit: int) -> Deferred[Presence]:
        everybody = workers.serving()
        # A stuck worker would delay each answer by a second, so it is not asked.
        asked = [each for each in everybody if each.silence < SILENT]
        stuck = [f"worker {each.number}" for each in everybody if each not in asked]

        def merged(answers: list[Presence | Unanswered]) -> Presence:
            parts = [each for each in answers if not isinstance(each, Unanswered)]
            people = [one for each in parts for one in each.people]
            people.sort(key=lambda one: int(one.id))
            count = sum(each.count for each in parts)
            silent = (*stuck, *missing(asked, answers))
            users, marks = together(each.marks for each in parts)
            return Presence(channel, count, tuple(people[:limit]), silent, users, marks)

        answers = workers.ask(asked, TellPresence(channel, limit))
        return answers.addCallback(merged)

    return ask
