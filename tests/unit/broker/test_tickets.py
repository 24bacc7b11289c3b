from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.auth.tickets import LASTS
from wsservice.broker import tickets as module
from wsservice.broker.naming import Names
from wsservice.broker.tickets import RedisTickets
from wsservice.errors import Away, BrokerError, Refused, TicketsError, Unknown


class Server:
    """A server with keys that expire. `fails` is why it does not answer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.keys: dict[bytes, tuple[bytes, float]] = {}
        self.fails: BrokerError | None = None
        self.answer: Any = None
        self.is_silent = False

    def __str__(self) -> str:
        return "redis://x:6379"

    def _do(self, act: Callable[[], Any]) -> Deferred[Any]:
        if self.is_silent:
            return Deferred()
        return succeed(act()) if self.fails is None else fail(self.fails)

    def call(self, *words: Any) -> Deferred[Any]:
        command, key, content, px, milliseconds = words
        assert (command, px) == ("SET", "PX")
        until = self.clock.seconds() + milliseconds / 1000
        return self._do(lambda: self.keys.__setitem__(key, (content, until)))

    def script(self, script: Any, keys: Any) -> Deferred[Any]:
        assert script is module._CLAIM

        def act() -> Any:
            content, until = self.keys.pop(keys[0], (None, 0.0))
            return self.answer or (content if until > self.clock.seconds() else None)

        return self._do(act)


class Engine:
    """One node's link to it."""

    names = Names("wsservice")

    def __init__(self, server: Server) -> None:
        self.server = server

    def of(self, _digest: str) -> Server:
        return self.server


@pytest.fixture
def server() -> Server:
    return Server()


def node(server: Server, **more: Any) -> RedisTickets:
    engine: Any = Engine(server)
    return RedisTickets(engine, server.clock, **more)


def result(deferred: Deferred[Any]) -> Any:
    outcome: list[Any] = []
    deferred.addErrback(lambda failure: failure.value).addCallback(outcome.append)
    (done,) = outcome
    return done


def test_one_of_two_nodes_claims_it(server: Server) -> None:
    one, two = node(server), node(server)
    assert result(one.put("ab", b"tom")) is None
    assert list(server.keys) == [b"wsservice:ticket:{ab}"]
    assert result(two.claim("ab")) == b"tom"
    assert result(one.claim("ab")) is None


def test_it_expires(server: Server) -> None:
    one = node(server)
    one.put("ab", b"tom")
    server.clock.advance(LASTS)
    assert result(one.claim("ab")) is None


@pytest.mark.parametrize(
    "error", [Away("connection refused"), Unknown("no answer"), Refused("OOM \u001b", "OOM")]
)
def test_without_the_server_nobody_is_let_in(server: Server, error: BrokerError) -> None:
    one = node(server)
    server.fails = error
    for said in (result(one.put("ab", b"tom")), result(one.claim("ab"))):
        assert isinstance(said, TicketsError)
        assert str(said).startswith("broker redis://x:6379: ")
        assert str(said).isprintable()


def test_a_server_that_does_not_answer(server: Server) -> None:
    one = node(server)
    server.is_silent = True
    outcomes: list[Any] = []
    for each in (one.put("ab", b"tom"), one.claim("ab")):
        each.addBoth(lambda failure: outcomes.append(str(failure.value)))
    server.clock.advance(1.9)
    assert outcomes == []
    server.clock.advance(0.1)
    assert outcomes == ["broker redis://x:6379 did not answer within 2 s"] * 2


def test_a_claim_that_is_given_up_leaves_nothing(server: Server) -> None:
    server.is_silent = True
    claim = node(server).claim("ab")
    outcomes: list[Any] = []
    claim.addErrback(lambda failure: outcomes.append(failure.type))
    claim.cancel()
    assert outcomes == [CancelledError]
    assert server.clock.getDelayedCalls() == []


def test_an_answer_that_makes_no_sense(server: Server) -> None:
    server.answer = [1]
    assert isinstance(result(node(server).claim("ab")), TicketsError)


def test_a_node_makes_so_many_in_their_time(server: Server) -> None:
    one = node(server, most=2, most_bytes=10)
    assert result(one.put("a", b"tom")) is None
    assert isinstance(result(one.put("b", b"12345678")), TicketsError)
    assert result(one.put("b", b"1234567")) is None
    # Used or not: another node may have claimed it.
    assert result(one.claim("a")) == b"tom"
    assert isinstance(result(one.put("c", b"")), TicketsError)
    server.clock.advance(LASTS)
    assert result(one.put("c", b"1234567890")) is None
