from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from wsservice.channels.presence import Person, Presence
from wsservice.workers.parent.presence import PresenceAnswers, of_workers
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.wire.coding import BusMessage, BusQuestion
from wsservice.workers.wire.orders import PresenceTold, TellPresence
from wsservice.workers.wire.reports import AskPresence

from ....support import Logged


class Worker:
    """A worker, and its answer."""

    def __init__(self, number: int, answer: Any, silence: int = 0) -> None:
        self.number = number
        self.answer = answer
        self.silence = silence
        self.said: list[Any] = []
        self.bus = self

    def say(self, message: BusMessage) -> None:
        self.said.append(message)


class Workers:
    """All of them."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = workers
        self.asked: list[Any] = []

    def serving(self) -> list[Any]:
        return list(self.workers)

    def ask(self, workers: Any, question: BusQuestion[Any]) -> Deferred[list[Any]]:
        self.asked.append(question)
        return succeed([each.answer for each in workers])


def person(number: int) -> Person:
    return Person(str(number), f"peer:{number}", "", "")


def answer(count: int, *ids: int) -> Presence:
    return Presence("a", count, tuple(map(person, ids)))


class TestAll:
    def test_counts_are_added_up_and_lists_are_one(self) -> None:
        workers = Workers(Worker(1, answer(3, 4, 10)), Worker(2, answer(2, 2, 11)))
        asked: Any = of_workers(workers)("a", 3)
        assert asked.result == Presence("a", 5, (person(2), person(4), person(10)))
        assert workers.asked == [TellPresence("a", 3)]

    @pytest.mark.parametrize("why", list(Unanswered))
    def test_one_that_does_not_answer_is_named_and_not_nobody(self, why: Unanswered) -> None:
        asked: Any = of_workers(Workers(Worker(1, answer(3)), Worker(2, why)))("a", 0)
        assert asked.result == Presence("a", 3, (), ("worker 2",))

    def test_one_that_is_stuck_is_not_waited_for(self) -> None:
        asked: Any = of_workers(Workers(Worker(1, "never", silence=2), Worker(2, answer(1))))(
            "a", 0
        )
        assert asked.result == Presence("a", 1, (), ("worker 1",))


class TestAnswers:
    def test_a_worker_is_told(self) -> None:
        worker = Worker(1, None)
        answers = PresenceAnswers(lambda channel, limit: succeed(Presence(channel, limit)))
        answers.asked(worker, AskPresence(7, "a", 5))
        assert worker.said == [PresenceTold(7, Presence("a", 5).as_json())]

    def test_what_fails_is_no_answer(self, logged: Logged) -> None:
        worker = Worker(1, None)
        answers = PresenceAnswers(lambda *_: fail(RuntimeError("broken")))
        answers.asked(worker, AskPresence(7, "a", 5))
        assert worker.said == [PresenceTold(7, None)]
        assert "broken" in logged.text
