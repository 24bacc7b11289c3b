from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.broker.engine import Engine
from wsservice.broker.inbox import Inbox
from wsservice.broker.redis.link import Away, Refused, Unknown
from wsservice.broker.waiting import BATCH_MESSAGES, FIELDS
from wsservice.config.config import Config

from ...support import Logged
from .test_waiting import SENDER

HEAD = 5 + len(FIELDS)


class Run:
    """An inbox, and a server that answers when it is told to."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.config = Config(broker=("redis://h",), inbox="in", **settings)
        self.engine = Engine(self.config, self.clock, "n1", "s1")
        self.link: Any = self.engine.links[0]
        self.calls: list[tuple[Any, list[Any]]] = []
        self.open: list[Deferred[Any]] = []
        vars(self.link)["script"] = self.script
        self.inbox = Inbox(self.config, self.engine, self.clock, lambda: 1.0)
        self.set_up(True)

    def set_up(self, up: bool) -> None:
        self.link.up = up
        for watcher in self.link.watchers:
            watcher(self.link)
        self.turn()

    def script(self, script: Any, keys: Any, arguments: list[Any]) -> Deferred[Any]:
        self.calls.append((keys, arguments))
        answer: Deferred[Any] = Deferred()
        self.open.append(answer)
        return answer

    def turn(self) -> None:
        self.clock.advance(0)

    def send(self, *payloads: bytes) -> list[bool]:
        taken = [self.inbox.take(SENDER, payload, False) for payload in payloads]
        self.turn()
        return taken

    def answer(self) -> None:
        self.open.pop(0).callback(b"OK")

    def fail(self, error: Exception) -> None:
        self.open.pop(0).errback(error)

    def refuses(self) -> bool:
        return self.inbox.refuses

    def is_pressed(self) -> bool:
        return self.inbox.is_pressed

    @property
    def payloads(self) -> list[list[bytes]]:
        """Return the payloads to append, by call."""
        return [arguments[HEAD + 5 :: len(FIELDS)] for _, arguments in self.calls]


def test_messages_of_one_turn_are_appended_together() -> None:
    run = Run(inbox_size=77)
    assert run.send(b"a", b"b") == [True, True]
    ((keys, arguments),) = run.calls
    assert keys == (b"in", b"wsservice:inbox:{n1}")
    assert arguments[:HEAD] == [77, "n1", "s1", 86400, len(FIELDS), *FIELDS]
    assert run.payloads == [[b"a", b"b"]]
    assert (run.inbox.waiting, run.inbox.appended) == (2, 0)
    run.answer()
    assert (run.inbox.waiting, run.inbox.appended) == (0, 2)
    assert not run.clock.getDelayedCalls()


def test_while_some_are_appended_the_next_are_gathered() -> None:
    run = Run()
    run.send(b"a")
    run.send(b"b")
    run.send(b"c")
    assert run.payloads == [[b"a"]]
    run.answer()
    assert run.payloads == [[b"a"], [b"b", b"c"]]


def test_a_batch_is_bounded() -> None:
    run = Run()
    run.send(*([b"x"] * (BATCH_MESSAGES + 1)))
    run.answer()
    assert [len(each) for each in run.payloads] == [BATCH_MESSAGES, 1]


@pytest.mark.parametrize("error", [Unknown("no answer"), Away("no room")])
def test_what_has_no_answer_is_sent_again_with_its_number(error: Exception) -> None:
    run = Run()
    run.send(b"a")
    run.link.up = False
    run.fail(error)
    run.send(b"b")
    run.clock.advance(100)
    assert len(run.calls) == 1
    run.set_up(True)
    assert run.payloads == [[b"a"], [b"a", b"b"]]
    assert run.calls[1][1][HEAD] == run.calls[0][1][HEAD] == 1


def test_where_the_link_is_up_it_is_sent_again_later_each_time() -> None:
    run = Run()
    run.send(b"a")
    for delay in (1, 2, 4, 5, 5):
        run.fail(Unknown("late"))
        run.clock.advance(delay - 0.1)
        assert run.open == []
        run.clock.advance(0.1)
        assert len(run.open) == 1
    run.answer()
    assert run.inbox.appended == 1
    # The next failure is the first again.
    run.send(b"b")
    run.fail(Unknown("late"))
    run.clock.advance(1)
    assert len(run.open) == 1


def test_what_the_server_refuses_is_said_and_kept(logged: Logged) -> None:
    run = Run()
    assert run.inbox.check() is None
    run.send(b"a")
    for _ in range(2):
        run.fail(Refused("OOM command not allowed", "OOM"))
        run.clock.advance(5)
    assert run.inbox.check() == "inbox: OOM command not allowed"
    assert logged.text.count("inbox: cannot append, OOM command not allowed") == 1
    run.answer()
    assert run.inbox.check() is None
    assert "inbox: messages are appended again" in logged.text
    assert run.inbox.appended == 1


class TestAway:
    """The server cannot be reached."""

    def test_refuse(self, logged: Logged) -> None:
        run = Run(inbox_away="refuse")
        assert not run.refuses()
        run.send(b"a")
        run.set_up(False)
        assert run.refuses()
        assert run.send(b"b", b"c") == [False, False]
        assert run.inbox.figures == {"appended": 0, "dropped": 0, "refused": 2}
        # What was taken before is kept all the same.
        run.fail(Unknown("lost"))
        run.set_up(True)
        assert run.payloads[-1] == [b"a"]
        assert run.send(b"d") == [True]
        assert logged.text.count("messages refused so far") == 1

    def test_drop(self, logged: Logged) -> None:
        run = Run(inbox_away="drop")
        run.set_up(False)
        assert not run.refuses()
        assert run.send(*[b"x"] * 25) == [True] * 25
        assert run.inbox.figures == {"appended": 0, "dropped": 25, "refused": 0}
        assert "inbox: 1 messages dropped so far" in logged.text
        assert "inbox: 10 messages dropped so far" in logged.text
        assert logged.text.count("dropped so far") == 2
        run.set_up(True)
        assert run.calls == []

    def test_buffer(self) -> None:
        run = Run(inbox_away="buffer,2")
        run.set_up(False)
        assert run.send(b"a", b"b", b"c") == [True, True, False]
        assert run.refuses()
        run.set_up(True)
        assert not run.refuses()
        assert run.payloads == [[b"a", b"b"]]
        # There is more room while they are appended.
        assert run.send(b"c") == [True]

    def test_buffer_is_bounded_in_octets(self) -> None:
        run = Run(inbox_away="buffer,1000", inbox_bytes=65536)
        run.set_up(False)
        assert run.send(b"x" * 60_000, b"x" * 60_000, b"x") == [True, False, True]

    def test_what_the_server_refuses_is_so_too(self) -> None:
        run = Run(inbox_away="refuse")
        run.send(b"a")
        run.fail(Refused("WRONGTYPE", "WRONGTYPE"))
        assert run.send(b"b") == [False]

    def test_one_that_takes_it_too_slowly_too(self) -> None:
        run = Run(inbox_away="drop")
        run.send(*[b"x"] * 10_001)
        assert run.inbox.figures["dropped"] == 1
        other = Run(inbox_away="refuse")
        assert other.send(*[b"x" * 1024 * 1024] * 65).count(False) == 2

    def test_it_may_change_while_it_runs(self) -> None:
        run = Run(inbox_away="refuse")
        run.set_up(False)
        run.inbox.prepare(attrs.evolve(run.config, inbox_away="drop", inbox_size=5))()
        assert run.send(b"a") == [True]
        assert run.inbox.dropped == 1
        run.set_up(True)
        run.send(b"b")
        assert run.calls[0][1][0] == 5


class TestPressed:
    """The server is there, but slower than the clients send."""

    def pressed(self) -> tuple[Run, list[int]]:
        run = Run()
        run.send(*[b"x"] * 4999)
        assert not run.inbox.is_pressed
        run.send(b"x")
        assert run.is_pressed()
        told: list[int] = []
        for number in range(3):
            run.inbox.wait(lambda number=number: told.append(number))  # type: ignore[misc]
        return run, told

    def test_who_sends_is_told_when_there_is_room(self) -> None:
        run, told = self.pressed()
        assert told == []
        run.answer()
        assert told == [0, 1, 2]
        run.answer()
        assert told == [0, 1, 2]

    def test_one_after_another_and_who_fills_it_again_is_the_last(self) -> None:
        run = Run()
        run.send(*[b"x"] * 5000)
        told: list[int] = []

        def more() -> None:
            told.append(1)
            run.send(*[b"x"] * BATCH_MESSAGES)

        run.inbox.wait(more)
        run.inbox.wait(lambda: told.append(2))
        run.answer()
        assert told == [1]
        run.answer()
        assert told == [1, 2]

    def test_what_becomes_of_it_while_it_is_away_is_the_options(self) -> None:
        run, told = self.pressed()
        run.set_up(False)
        assert not run.inbox.is_pressed
        assert told == [0, 1, 2]

    def test_so_it_is_where_the_server_refuses(self) -> None:
        run, told = self.pressed()
        run.fail(Refused("OOM", "OOM"))
        assert told == [0, 1, 2]

    def test_at_the_end_nobody_is_told(self) -> None:
        run, told = self.pressed()
        run.inbox.stop(1.0)
        run.clock.advance(1)
        assert told == []

    def test_large_messages_are_pressing_too(self) -> None:
        run = Run(max_message_size=64 * 1024 * 1024)
        run.send(bytes(60 * 1024 * 1024), bytes(60 * 1024 * 1024))
        assert not run.inbox.is_pressed
        run.send(bytes(60 * 1024 * 1024))
        assert run.is_pressed()


class TestEnd:
    def stop(self, run: Run, within: float = 5.0) -> list[Any]:
        stopped: list[Any] = []
        run.inbox.stop(within).addCallback(stopped.append)
        return stopped

    def test_nothing_waits(self) -> None:
        run = Run()
        assert self.stop(run) == [None]

    def test_what_waits_is_appended(self) -> None:
        run = Run()
        run.send(b"a")
        run.send(b"b")
        stopped = self.stop(run)
        run.answer()
        assert stopped == []
        run.answer()
        assert stopped == [None]
        assert run.inbox.appended == 2
        assert not run.clock.getDelayedCalls()

    def test_a_server_that_comes_back_gets_it(self) -> None:
        run = Run()
        run.set_up(False)
        run.send(b"a")
        stopped = self.stop(run)
        run.clock.advance(2)
        run.set_up(True)
        run.answer()
        assert stopped == [None]

    def test_there_is_no_time(self, logged: Logged) -> None:
        run = Run()
        run.set_up(False)
        run.send(b"a", b"b")
        stopped = self.stop(run)
        run.clock.advance(5)
        assert stopped == [None]
        assert "inbox: 2 messages could not be appended before the end" in logged.text
        assert run.inbox.dropped == 2
        assert run.send(b"c") == [False]
        assert not run.clock.getDelayedCalls()
