from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.admin.listing import Closing
from wsservice.cluster.answering import Answering
from wsservice.cluster.facts import Facts
from wsservice.cluster.questions import (
    AskChannels,
    AskClose,
    AskCount,
    AskFacts,
    AskList,
    AskSend,
    Channels,
)

from .nodes import Broker, Node
from .support import BINARY, CLOSE, TEXT, close_payload
from .test_cluster_facts import FACTS


class One:
    """A node that is asked."""

    def __init__(self) -> None:
        self.node = Node(Broker(), "one")
        self.answering = Answering(self.node.people, self.facts)

    async def facts(self) -> Facts:
        return FACTS

    def ask(self, question: Any) -> Any:
        """What it answers, by way of JSON."""
        done: list[Any] = []
        Deferred.fromCoroutine(self.answering.answer(question)).addCallback(done.append)
        return question.answer_of(json.loads(json.dumps(done[0])))


@pytest.fixture
def one() -> One:
    return One()


def test_what_it_is(one: One) -> None:
    assert one.ask(AskFacts()) == FACTS


def test_who_is_there(one: One) -> None:
    one.node.connect("/a", "/b", "/a", "/")
    assert one.ask(AskCount(None)) == 4
    assert one.ask(AskCount("a")) == 2
    assert one.ask(AskCount("")) == 1
    part = one.ask(AskList(None, 2, 1))
    assert ([each["id"] for each in part.rows], part.more) == (["2", "3"], True)
    part = one.ask(AskList("a", 2, 1))
    assert ([each["id"] for each in part.rows], part.more) == (["3"], False)


def test_which_channels_there_are(one: One) -> None:
    one.node.connect("/a", "/b", "/a", "/")
    assert one.ask(AskChannels(2, None)) == Channels((("", 1), ("a", 2)), True, 3)
    assert one.ask(AskChannels(2, "a")) == Channels((("b", 1),), False, 3)


def test_one_is_closed(one: One) -> None:
    (client,) = one.node.connect("/a")
    assert one.ask(AskClose(1, Closing(4001, "enough"))) is True
    assert client.frames() == [(CLOSE, close_payload(4001, b"enough"))]
    assert one.ask(AskClose(2, Closing())) is False


def test_one_is_sent_to(one: One) -> None:
    (client,) = one.node.connect("/a")
    assert one.ask(AskSend(1, b"hello", False)) == "handed"
    assert one.ask(AskSend(1, b"\xff", True)) == "handed"
    assert client.frames() == [(TEXT, b"hello"), (BINARY, b"\xff")]
    assert one.ask(AskSend(2, b"hello", False)) is None
    one.node.served.connect()
    assert one.ask(AskSend(2, b"hello", False)) == "opening"


def test_what_does_not_fit_comes_later(one: One) -> None:
    names = [f"/{number:02}{'x' * 7_000}" for number in range(90)]
    one.node.connect(*names)
    part = one.ask(AskChannels(100, None))
    assert part.more
    assert 60 <= len(part.sizes) < 80
    rest = one.ask(AskChannels(100, part.sizes[-1][0]))
    assert len(part.sizes) + len(rest.sizes) == 90
    assert not rest.more
