from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from wsservice.channels.presence import Person, Presence
from wsservice.workers.child.presence import ParentQuestions
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.orders import PresenceTold
from wsservice.workers.wire.reports import AskPresence


class Bus:
    """The messages of a worker to its parent."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, message: BusMessage) -> None:
        self.said.append(message)


def person(number: int) -> Person:
    return Person(str(number), f"peer:{number}", "", "")


def answer(count: int, *ids: int) -> dict[str, Any]:
    return Presence("a", count, tuple(map(person, ids))).as_json()


def made() -> tuple[ParentQuestions, Bus, Clock]:
    bus: Any = Bus()
    clock = Clock()
    own = Presence("a", 1, (person(5),))
    return ParentQuestions(bus, clock, lambda *_: own), bus, clock


def test_the_parents_answer_is_that_of_all() -> None:
    questions, bus, clock = made()
    asked: Any = questions.ask("a", 3)
    assert bus.said == [AskPresence(1, "a", 3)]
    questions.answered(PresenceTold(1, answer(5, 1)))
    assert asked.result == Presence("a", 5, (person(1),))
    assert clock.getDelayedCalls() == []
    questions.answered(PresenceTold(1, answer(6, 1)))


def test_without_it_there_is_this_worker_alone_and_it_is_said() -> None:
    questions, _, clock = made()
    late: Any = questions.ask("a", 3)
    failed: Any = questions.ask("a", 3)
    questions.answered(PresenceTold(2, None))
    assert failed.result == Presence("a", 1, (person(5),), ("the other workers",))
    clock.advance(10)
    assert late.result == failed.result


def test_once_it_is_gone_nobody_waits_for_it() -> None:
    questions, bus, clock = made()
    before: Any = questions.ask("a", 3)
    questions.end()
    after: Any = questions.ask("a", 3)
    alone = Presence("a", 1, (person(5),), ("the other workers",))
    assert before.result == after.result == alone
    assert len(bus.said) == 1
    assert clock.getDelayedCalls() == []
