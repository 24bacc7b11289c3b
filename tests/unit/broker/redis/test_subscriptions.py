from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.broker.redis import subscriptions as module
from wsservice.broker.redis.connection import ConnectionOwner, Conversation
from wsservice.broker.redis.subscriptions import Subscriptions
from wsservice.errors import Away, Refused

from ....redis import Server, push
from ....support import Logged


class Told(ConnectionOwner):
    def __init__(self, subscriptions: Subscriptions) -> None:
        self.subscriptions = subscriptions

    def pushed(self, push: Sequence[Any]) -> None:
        self.subscriptions.pushed(push)

    def lost(self, conversation: Conversation, why: str) -> None:
        self.subscriptions.lost()


class Run:
    def __init__(self, sharded: bool = False) -> None:
        self.clock = Clock()
        self.subscriptions = Subscriptions(self.clock)
        self.heard: list[Any] = []
        self.outcomes: dict[bytes, list[Any]] = {}
        self.sharded = sharded

    def connect(self) -> list[Any]:
        """A new connection; what becomes of it."""
        conversation = Conversation(self.clock, Told(self.subscriptions))
        self.server = Server(conversation)
        outcome: list[Any] = []
        self.subscriptions.begin(conversation, self.sharded).addBoth(outcome.append)
        return outcome

    def add(self, name: bytes) -> None:
        self.outcomes[name] = []
        added: Deferred[Any] = self.subscriptions.add(
            name, lambda payload: self.heard.append((name, payload))
        )
        added.addBoth(self.outcomes[name].append)

    def asked(self) -> list[list[bytes]]:
        self.clock.advance(0)
        return self.server.asked()

    def confirm(self, *names: bytes) -> None:
        kind = b"ssubscribe" if self.sharded else b"subscribe"
        self.server.say(*(push(kind, name, 1) for name in names))

    def failed(self, name: bytes) -> Exception:
        (failure,) = self.outcomes[name]
        error: Exception = failure.value
        return error


def test_names_of_one_turn_are_one_command() -> None:
    run = Run()
    assert run.connect() == [None]
    run.add(b"a")
    run.add(b"b")
    assert run.asked() == [[b"SUBSCRIBE", b"a", b"b"]]
    run.confirm(b"a")
    assert (run.outcomes[b"a"], run.outcomes[b"b"]) == ([None], [])
    run.confirm(b"b")
    assert run.outcomes[b"b"] == [None]


def test_where_the_server_has_them_they_are_sharded() -> None:
    run = Run(sharded=True)
    run.connect()
    run.add(b"a")
    assert run.asked() == [[b"SSUBSCRIBE", b"a"]]
    run.confirm(b"a")
    run.server.say(push(b"smessage", b"a", b"x"))
    assert run.heard == [(b"a", b"x")]
    run.subscriptions.remove(b"a")
    assert run.asked() == [[b"SUNSUBSCRIBE", b"a"]]


def test_what_is_published_is_heard_by_who_subscribed() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.add(b"b")
    run.asked()
    run.confirm(b"a", b"b")
    run.server.say(push(b"message", b"b", b"1"), push(b"message", b"a", b"2"))
    run.server.say(push(b"message", b"c", b"3"), push(b"nonsense"), push(b"pong", b"x", b"y"))
    assert run.heard == [(b"b", b"1"), (b"a", b"2")]


def test_while_a_batch_is_confirmed_the_next_is_gathered() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.add(b"b")
    run.add(b"c")
    assert run.asked() == []
    run.confirm(b"a")
    assert run.asked() == [[b"SUBSCRIBE", b"b", b"c"]]


def test_one_name_is_subscribed_to_once() -> None:
    run = Run()
    run.add(b"a")
    with pytest.raises(ValueError, match="b'a' is subscribed to"):
        run.subscriptions.add(b"a", lambda _: None)
    assert len(run.subscriptions) == 1


def test_what_was_left_is_heard_no_more() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.confirm(b"a")
    run.subscriptions.remove(b"a")
    run.server.say(push(b"message", b"a", b"late"))
    assert run.heard == []
    assert run.asked() == [[b"UNSUBSCRIBE", b"a"]]
    run.subscriptions.remove(b"a")
    assert run.asked() == []


def test_what_was_left_before_it_was_asked_for_is_not() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.subscriptions.remove(b"a")
    assert run.asked() == []
    assert isinstance(run.failed(b"a"), Away)


def test_what_was_left_and_is_wanted_again_is_confirmed_anew() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.subscriptions.remove(b"a")
    assert isinstance(run.failed(b"a"), Away)
    run.add(b"a")
    # The first is under way, and not the second's.
    assert run.asked() == [[b"UNSUBSCRIBE", b"a"]]
    run.confirm(b"a")
    assert run.outcomes[b"a"] == []
    run.server.say(push(b"message", b"a", b"early"), push(b"unsubscribe", b"a", 0))
    assert run.heard == []
    assert run.asked() == [[b"SUBSCRIBE", b"a"]]
    run.confirm(b"a")
    assert run.outcomes[b"a"] == [None]


def test_all_is_subscribed_to_again_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    run = Run()
    names = [b"%d" % number for number in range(5)]
    for name in names:
        run.add(name)
    outcome = run.connect()
    for batch in (names[:2], names[2:4], names[4:]):
        assert run.asked() == [[b"SUBSCRIBE", *batch]]
        assert outcome == []
        run.confirm(*batch)
    assert outcome == [None]
    assert all(each == [None] for each in run.outcomes.values())
    run.server.lose()
    run.server.say(push(b"message", b"0", b"late"))
    assert run.heard == []
    assert run.connect() == []
    assert run.asked() == [[b"SUBSCRIBE", *names[:2]]]


def test_what_is_left_while_there_is_no_connection_is_not_asked_for() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.confirm(b"a")
    run.server.lose()
    run.subscriptions.remove(b"a")
    assert run.connect() == [None]
    assert run.asked() == []


def test_a_connection_that_ends_meanwhile_is_none() -> None:
    run = Run()
    run.add(b"a")
    outcome = run.connect()
    run.server.lose()
    assert len(outcome) == 1
    assert run.outcomes[b"a"] == []
    run.connect()
    run.asked()
    run.confirm(b"a")
    assert run.outcomes[b"a"] == [None]


def test_what_the_server_refuses_is_given_up() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.server.say(b"-NOPERM No permissions to access a channel\r\n")
    error = run.failed(b"a")
    assert isinstance(error, Refused)
    assert error.kind == "NOPERM"
    assert len(run.subscriptions) == 0
    run.add(b"b")
    assert run.asked() == [[b"SUBSCRIBE", b"b"]]


def test_what_it_refuses_at_the_beginning_fails_the_connection() -> None:
    run = Run()
    run.add(b"a")
    outcome = run.connect()
    run.server.say(b"-NOPERM No permissions\r\n")
    assert outcome[0].value.kind == "NOPERM"
    # It may be another server, next time.
    assert run.outcomes[b"a"] == []


def test_who_fails_to_take_it_is_logged_and_the_others_hear(logged: Logged) -> None:
    run = Run()

    def fail(payload: bytes) -> None:
        raise RuntimeError("\x1b[1m" + payload.decode())

    take: Callable[[bytes], None] = run.heard.append
    run.subscriptions.add(b"a", fail)
    run.subscriptions.add(b"b", take)
    run.connect()
    run.asked()
    run.confirm(b"a", b"b")
    run.server.say(push(b"message", b"a", b"x"), push(b"message", b"b", b"y"))
    assert run.heard == [b"y"]
    (failure,) = logged.failures
    assert "\x1b" not in failure


@pytest.mark.parametrize(
    "odd",
    [
        push(),
        push(b"invalidate", b"a"),
        push(b"message", b"a"),
        push(b"pmessage", b"*", b"a", b"x"),
        push(b"invalidate", b"a", b"b"),
        push(b"message", b"a", 5),
        push(b"message", 5, b"x"),
        push(5, b"a", b"x"),
        b">3\r\n*1\r\n+a\r\n+a\r\n+x\r\n",
        b">3\r\n+message\r\n*1\r\n+a\r\n+x\r\n",
        b">3\r\n+message\r\n+a\r\n*1\r\n+x\r\n",
        b">3\r\n+subscribe\r\n%0\r\n:1\r\n",
        b">3\r\n_\r\n_\r\n_\r\n",
    ],
)
def test_a_push_of_another_kind_is_passed_over_and_counted(odd: bytes, logged: Logged) -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.confirm(b"a")
    run.server.say(odd, push(b"message", b"a", b"1"), odd, push(b"message", b"a", b"2"))
    assert run.heard == [(b"a", b"1"), (b"a", b"2")]
    assert (run.subscriptions.passed_over, logged.text) == (2, "")


def test_what_was_asked_for_is_not_counted_as_passed_over() -> None:
    run = Run()
    run.connect()
    run.add(b"a")
    run.asked()
    run.confirm(b"a")
    run.subscriptions.remove(b"a")
    run.asked()
    run.server.say(push(b"message", b"a", b"late"), push(b"unsubscribe", b"a", 0))
    assert (run.heard, run.subscriptions.passed_over) == ([], 0)


def test_at_the_end_all_that_waits_fails() -> None:
    run = Run()
    run.add(b"a")
    run.subscriptions.end(Away("over"))
    assert str(run.failed(b"a")) == "over"
    assert len(run.subscriptions) == 0
