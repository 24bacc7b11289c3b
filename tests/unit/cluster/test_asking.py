from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.cluster.asking import WITHIN, Asking, Unheard
from wsservice.cluster.checking import MalformedError
from wsservice.cluster.questions import Answered, AskCount
from wsservice.cluster.rows import ConnectionCount
from wsservice.errors import Away, Unknown


class Asker:
    """One that asks, and what goes out."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.published: list[tuple[str, Any]] = []
        self.listeners: Any = 1
        self.asking = Asking("one", self.publish, self.own, self.clock)
        self.answers: list[Any] = []

    def publish(self, node: str, message: bytes) -> Deferred[int]:
        self.published.append((node, json.loads(message)))
        if isinstance(self.listeners, Exception):
            return fail(self.listeners)
        return succeed(self.listeners)

    async def own(self, question: Any) -> Mapping[str, Any]:
        assert question == AskCount("news")
        return {"total": 7}

    def ask(self, *nodes: str) -> None:
        asked = self.asking.ask(dict.fromkeys(nodes, AskCount("news")))
        Deferred.fromCoroutine(asked).addBoth(self.answers.append)

    def answer(self, place: int, said: Any, sender: str = "") -> None:
        node, message = self.published[place]
        self.asking.heard(Answered(sender or node, message["id"], said))


@pytest.fixture
def asker() -> Asker:
    return Asker()


def test_all_are_asked_at_once_and_this_one_by_itself(asker: Asker) -> None:
    asker.ask("one", "two", "three")
    assert [(node, said["ask"]) for node, said in asker.published] == [
        ("two", "count"),
        ("three", "count"),
    ]
    asker.answer(1, {"total": 3})
    assert asker.answers == []
    asker.answer(0, {"total": 2})
    assert asker.answers == [
        {"one": ConnectionCount(7), "two": ConnectionCount(2), "three": ConnectionCount(3)}
    ]
    assert asker.clock.getDelayedCalls() == []
    assert asker.asking.outcomes == {"answered": 2, "nobody": 0, "late": 0, "wrong": 0}


def test_each_question_has_an_id_of_its_own(asker: Asker) -> None:
    asker.ask("two", "three")
    asker.ask("two")
    assert len({said["id"] for _, said in asker.published}) == 3


def test_who_does_not_answer_in_time_is_late(asker: Asker) -> None:
    asker.ask("two", "three")
    asker.answer(0, {"total": 2})
    asker.clock.advance(WITHIN)
    assert asker.answers == [{"two": ConnectionCount(2), "three": Unheard.LATE}]
    asker.answer(1, {"total": 3})
    assert asker.asking.outcomes["late"] == 1


def test_where_nobody_listens_nobody_is_waited_for(asker: Asker) -> None:
    asker.listeners = 0
    asker.ask("two")
    assert asker.answers == [{"two": Unheard.NOBODY}]


def test_where_the_broker_is_away_nobody_was_asked(asker: Asker) -> None:
    asker.listeners = Away("connection refused")
    asker.ask("two")
    assert asker.answers == [{"two": Unheard.NOBODY}]


def test_where_that_is_not_known_it_is_late(asker: Asker) -> None:
    asker.listeners = Unknown("no answer")
    asker.ask("two")
    assert asker.answers == [{"two": Unheard.LATE}]


def test_who_does_not_understand(asker: Asker) -> None:
    asker.ask("two")
    asker.answer(0, None)
    assert asker.answers == [{"two": Unheard.WRONG}]


def test_what_makes_no_sense_is_no_answer(asker: Asker) -> None:
    asker.ask("two")
    with pytest.raises(MalformedError):
        asker.answer(0, {"total": "many"})
    assert asker.answers == [{"two": Unheard.LATE}]


def test_nor_is_that_of_another_node(asker: Asker) -> None:
    asker.ask("two")
    with pytest.raises(MalformedError, match="a node that was not asked"):
        asker.answer(0, {"total": 9}, sender="three")
    asker.answer(0, {"total": 2})
    assert asker.answers == [{"two": ConnectionCount(2)}]


def test_what_nobody_asked_for_is_nothing(asker: Asker) -> None:
    asker.asking.heard(Answered("two", "0" * 32, {"total": 1}))
    assert sum(asker.asking.outcomes.values()) == 0


def test_at_the_end_nobody_waits(asker: Asker) -> None:
    asker.ask("two")
    asker.asking.end()
    assert asker.answers == [{"two": Unheard.LATE}]
    assert asker.clock.getDelayedCalls() == []
