from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from wsservice.cluster.answering import Answering
from wsservice.cluster.facts import Facts
from wsservice.cluster.questions import (
    AskChannels,
    AskClose,
    AskCount,
    AskFacts,
    AskList,
    AskSend,
)
from wsservice.cluster.rows import ChannelsPart, ConnectionCount
from wsservice.directory.listing import Closing
from wsservice.directory.outcomes import SendOutcome

from ...nodes import Broker, Node
from ...support import BINARY, CLOSE, TEXT, close_payload
from .test_facts import FACTS


class One:
    """A node that is asked."""

    def __init__(self) -> None:
        self.node = Node(Broker(), "one")
        self.answering = Answering(self.node.people, self.facts)

    async def facts(self) -> Facts:
        return FACTS

    def ask(self, question: Any) -> Any:
        """Ask a question through JSON, and return the answer."""
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
    assert one.ask(AskCount(None)) == ConnectionCount(4)
    assert one.ask(AskCount("a")) == ConnectionCount(2)
    assert one.ask(AskCount("")) == ConnectionCount(1)
    part = one.ask(AskList(None, 2, 1))
    assert ([each["id"] for each in part.rows], part.more) == (["2", "3"], True)
    part = one.ask(AskList("a", 2, 1))
    assert ([each["id"] for each in part.rows], part.more) == (["3"], False)


def test_workers_that_did_not_answer_are_named(one: One, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(*_: Any) -> dict[str, Any]:
        return {
            "total": 1,
            "connections": [],
            "channels": [],
            "next": None,
            "missing": ["worker 2"],
        }

    for name in ("listed", "members", "channels"):
        monkeypatch.setattr(one.node.people, name, listed)
    silent = ("worker 2",)
    assert one.ask(AskCount(None)) == one.ask(AskCount("a")) == ConnectionCount(1, silent)
    assert one.ask(AskList("a", 2, 0)).missing == silent
    assert one.ask(AskChannels(2, None)).missing == silent


def test_which_channels_there_are(one: One) -> None:
    one.node.connect("/a", "/b", "/a", "/")
    assert one.ask(AskChannels(2, None)) == ChannelsPart((("", 1), ("a", 2)), True, 3)
    assert one.ask(AskChannels(2, "a")) == ChannelsPart((("b", 1),), False, 3)


def test_one_is_closed(one: One) -> None:
    (client,) = one.node.connect("/a")
    assert one.ask(AskClose(1, Closing(4001, "enough"))) is True
    assert client.frames() == [(CLOSE, close_payload(4001, b"enough"))]
    assert one.ask(AskClose(2, Closing())) is False


def test_one_is_sent_to(one: One) -> None:
    (client,) = one.node.connect("/a")
    assert one.ask(AskSend(1, b"hello", False)) is SendOutcome.HANDED
    assert one.ask(AskSend(1, b"\xff", True)) is SendOutcome.HANDED
    assert client.frames() == [(TEXT, b"hello"), (BINARY, b"\xff")]
    assert one.ask(AskSend(2, b"hello", False)) is SendOutcome.GONE
    one.node.served.connect()
    assert one.ask(AskSend(2, b"hello", False)) is SendOutcome.OPENING


def test_what_does_not_fit_comes_later(one: One) -> None:
    # Each character has two octets in a name, and six in JSON.
    names = [f"/{number:03}{'%C3%A9' * 120}" for number in range(900)]
    one.node.connect(*names)
    part = one.ask(AskChannels(1000, None))
    assert part.more
    assert 600 <= len(part.sizes) < 800
    rest = one.ask(AskChannels(1000, part.sizes[-1][0]))
    assert len(part.sizes) + len(rest.sizes) == 900
    assert not rest.more


def test_of_workers_it_may_not_know_how_many_channels_there_are(
    one: One, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def channels(*_: Any) -> dict[str, Any]:
        row = {"channel": "a", "connections": 2}
        return {"total": None, "at_most": 7, "channels": [row], "next": "a", "missing": []}

    monkeypatch.setattr(one.node.people, "channels", channels)
    part = one.ask(AskChannels(1, None))
    assert part == ChannelsPart((("a", 2),), True, 7, (), is_exact=False)
