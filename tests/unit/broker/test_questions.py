from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wsservice.broker import questions as module
from wsservice.broker.questions import NOWHERE, ServerQuestions
from wsservice.channels.history import Missed
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Latest, Position
from wsservice.errors import Away, Refused, Unknown

from ...support import Logged

AT = Position(3, "E.1")
NOTHING = Missed((), AT)
SOME = Missed((ChannelMessage("a", b"x", False, 0.0, 4, "E.1"),), Position(4, "E.1"))


class Asking:
    """`ServerQuestions`, and what was asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ready = True
        self.open: list[tuple[str, Position | Latest | None, Deferred[Missed]]] = []
        self.questions = ServerQuestions(self.clock, lambda: self.ready, self._read)

    def _read(self, channel: str, since: Position | Latest | None) -> Deferred[Missed]:
        answer: Deferred[Missed] = Deferred()
        self.open.append((channel, since, answer))
        return answer

    def ask(self, channel: str = "a", since: Position | Latest | None = AT) -> list[Any]:
        told: list[Any] = []
        self.questions.ask(channel, since).addCallback(told.append)
        return told

    @property
    def asked(self) -> list[tuple[str, Position | Latest | None]]:
        return [(channel, since) for channel, since, _ in self.open]

    def answer(self, answer: Any) -> None:
        deferred = self.open.pop(0)[2]
        (deferred.errback if isinstance(answer, Exception) else deferred.callback)(answer)


def test_who_asks_the_same_shares_one_answer() -> None:
    asking = Asking()
    told = [asking.ask(), asking.ask(), asking.ask("b"), asking.ask("a", None)]
    assert asking.asked == [("a", AT), ("b", AT), ("a", None)]
    asking.answer(NOTHING)
    assert told[:2] == [[NOTHING], [NOTHING]]
    # That was it: who asks now is told what is so now.
    asking.ask()
    assert asking.asked[-1] == ("a", AT)


def test_so_many_are_asked_at_once() -> None:
    asking = Asking()
    for number in range(module.ASKED_AT_ONCE + 2):
        asking.ask(str(number))
    assert len(asking.open) == module.ASKED_AT_ONCE
    asking.answer(NOTHING)
    assert len(asking.open) == module.ASKED_AT_ONCE


def test_a_page_is_given_to_many_in_several_turns_and_nothing_in_one() -> None:
    asking = Asking()
    told = [asking.ask() for _ in range(250)]
    asking.answer(SOME)
    assert sum(map(len, told)) == 100
    asking.clock.advance(0)
    assert sum(map(len, told)) == 250
    told = [asking.ask() for _ in range(250)]
    asking.answer(NOTHING)
    assert sum(map(len, told)) == 250


def test_while_the_server_is_away_they_wait_and_are_asked_again() -> None:
    asking = Asking()
    asking.ready = False
    told = asking.ask()
    assert asking.open == []
    asking.ready = True
    asking.questions.put()
    asking.ready = False
    asking.answer(Unknown("lost"))
    assert asking.clock.getDelayedCalls() == []
    asking.ready = True
    asking.questions.put()
    asking.answer(Away("busy"))
    # The server is there, so far as is known.
    asking.clock.advance(0.1)
    asking.answer(NOTHING)
    assert told == [NOTHING]


def test_who_left_is_not_told_and_if_nobody_is_left_nothing_is_asked() -> None:
    asking = Asking()
    asking.ready = False
    waiting = [asking.questions.ask("a", AT) for _ in range(2)]
    for each in waiting:
        each.cancel()
        each.addErrback(lambda failure: failure.trap(CancelledError))
    # Nothing is left of it, however long the server is away.
    assert (asking.questions._open, asking.questions._waiting) == ({}, {})
    asking.ready = True
    asking.questions.put()
    assert asking.open == []
    left = asking.questions.ask("a", AT)
    left.addErrback(lambda failure: failure.trap(CancelledError))
    left.cancel()
    asking.answer(Unknown("lost"))
    assert asking.questions._open == {}
    again = asking.ask()
    asking.answer(NOTHING)
    assert again == [NOTHING]


def test_one_may_leave_as_another_is_told() -> None:
    asking = Asking()
    told: list[Any] = []
    first, second = asking.questions.ask("a", AT), asking.questions.ask("a", AT)
    second.addErrback(lambda failure: failure.trap(CancelledError))
    second.addCallback(told.append)
    first.addCallback(lambda _: second.cancel())
    asking.answer(NOTHING)
    assert told == [CancelledError]


def test_a_history_that_cannot_be_read_is_a_gap_and_then_nothing() -> None:
    asking = Asking()
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        told = [asking.ask(), asking.ask("a", None)]
        asking.answer(Refused("WRONGTYPE no", "WRONGTYPE"))
        asking.answer(Refused("WRONGTYPE no", "WRONGTYPE"))
    finally:
        globalLogPublisher.removeObserver(logged)
    assert told == [[Missed((), NOWHERE, gap=True)], [Missed((), NOWHERE)]]
    assert "cannot be read: WRONGTYPE no" in logged.text
