"""Staying connected, on connections in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client.options import ClientConfig
from wsservice.client.protocol import ClientProtocol
from wsservice.client.staying import Staying, is_permanent
from wsservice.errors import (
    CertificateError,
    ConfigError,
    ConnectError,
    HandshakeError,
    TLSError,
)
from wsservice.net.backoff import Backoff

from ...support import CLOSE, TEXT, Logged, Server, close_payload, frame

URL = "ws://127.0.0.1:8080/there?token=secret"


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (ConfigError("no such scheme"), True),
        (CertificateError("not trusted"), True),
        (TLSError("the server broke off"), False),
        (ConnectError("connection refused"), False),
        (HandshakeError("no", None), False),
        *[(HandshakeError("no", status), True) for status in (400, 401, 403, 404, 410, 499)],
        *[(HandshakeError("no", status), False) for status in (200, 302, 408, 425, 429, 500, 503)],
        (KeyError("ours"), False),
    ],
    ids=repr,
)
def test_what_cannot_get_better(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent


class Behaviour(ClientProtocol):
    """Keeps what happened."""

    events: list[Any]

    def onOpen(self) -> None:
        self.events.append("open")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.events.append(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.events.append(("close", code))


def reached(reactor: MemoryReactorClock) -> Server:
    """The server that the last attempt to connect is for."""
    factory = reactor.tcpClients[-1][2]
    return Server(factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080)))


class Stay:
    """A client that stays, and what it told. Each delay is the longest that it may be."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, retries: bool = True, **settings: Any
    ) -> None:
        monkeypatch.setattr(
            "wsservice.client.staying.Backoff", lambda: Backoff(lambda: 1.0), raising=True
        )
        self.reactor = MemoryReactorClock()
        self.events: list[Any] = []
        self.staying = Staying(
            ClientConfig(url=URL, **settings),
            type("Behaviour", (Behaviour,), {"events": self.events}),
            self.reactor,
            connected=lambda connection: self.events.append("connected"),
            lost=lambda connection, error: self.events.append(("lost", error.code)),
            retrying=lambda error, delay: self.events.append((type(error).__name__, delay)),
            failed=self.events.append,
            retries=retries,
        )
        self.staying.start()

    @property
    def attempts(self) -> int:
        return len(self.reactor.tcpClients)

    def told(self) -> list[Any]:
        """Return the events since the last call."""
        self.reactor.advance(0)
        events = list(self.events)
        self.events.clear()
        return events

    def reached(self) -> Server:
        return reached(self.reactor)

    def accepted(self) -> Server:
        server = self.reached().accept()
        server.taken()
        return server

    def unreachable(self) -> None:
        factory, connector = self.reactor.tcpClients[-1][2], self.reactor.connectors[-1]
        factory.clientConnectionFailed(connector, Failure(error.ConnectionRefusedError(111)))
        self.reactor.advance(0.3)  # until the endpoint sees that there is no other address

    def refused(self, head: bytes) -> None:
        server = self.reached()
        server.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        server.lose()

    def stop(self) -> list[Any]:
        stopped: list[Any] = []
        self.staying.stop().addBoth(stopped.append)
        return stopped


@pytest.fixture
def stay(monkeypatch: pytest.MonkeyPatch) -> Stay:
    return Stay(monkeypatch)


def test_it_is_connected_when_hands_were_shaken(stay: Stay) -> None:
    server = stay.reached()
    assert stay.told() == []
    server.accept()
    assert stay.told() == ["open", "connected"]
    server.send(frame(TEXT, b"hi", masked=False))
    assert stay.told() == [b"hi"]


def test_it_connects_again_when_that_fails_later_each_time(stay: Stay) -> None:
    for attempt, delay in enumerate((1, 2, 4, 8), 1):
        assert stay.attempts == attempt
        stay.unreachable()
        assert stay.told() == [("ConnectError", delay)]
        stay.reactor.advance(delay - 0.1)
        assert stay.attempts == attempt
        stay.reactor.advance(0.2)
    stay.accepted()
    assert stay.told() == ["open", "connected"]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 4000])
def test_it_connects_again_whatever_the_server_closed_with(stay: Stay, code: int) -> None:
    server = stay.accepted()
    server.send(frame(CLOSE, close_payload(code), masked=False))
    server.lose()
    told = ["open", "connected", ("close", code), ("lost", code), ("ConnectionClosed", 1)]
    assert stay.told() == told
    stay.reactor.advance(1)
    assert stay.attempts == 2


def test_a_loss_is_one_too(stay: Stay) -> None:
    stay.accepted().lose(error.ConnectionLost())
    assert stay.told()[2:] == [("close", 1006), ("lost", 1006), ("ConnectionClosed", 1)]


def test_short_connections_are_failures(stay: Stay) -> None:
    for delay in (1, 2, 4):
        server = stay.accepted()
        stay.reactor.advance(5)
        server.lose()
        assert stay.told()[-1] == ("ConnectionClosed", delay)
        stay.reactor.advance(delay)


def raising(*_: object) -> None:
    raise UnicodeError("unforeseen")


@pytest.mark.parametrize("what", ["connected", "lost", "retrying"])
def test_what_its_owner_raises_does_not_end_it(stay: Stay, what: str, logged: Logged) -> None:
    setattr(stay.staying, f"_{what}", raising)
    stay.accepted().lose()
    stay.reactor.advance(1)
    assert stay.attempts == 2
    assert len(logged.failures) == 1


def test_what_a_behaviour_raises_at_its_end_does_not_end_it(
    stay: Stay, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stay.accepted()
    monkeypatch.setattr(ClientProtocol, "connectionLost", raising)
    with pytest.raises(UnicodeError):
        server.lose()
    monkeypatch.undo()
    stay.reactor.advance(1)
    assert stay.attempts == 2


@pytest.mark.parametrize("retries", [True, False])
def test_an_attempt_that_fails_as_nobody_foresees_is_one_that_failed(
    monkeypatch: pytest.MonkeyPatch, retries: bool
) -> None:
    monkeypatch.setattr("wsservice.client.staying.open_connection", raising)
    stay = Stay(monkeypatch, retries=retries)
    told = stay.told()
    if retries:
        assert told == [("UnicodeError", 1)]
        monkeypatch.undo()
        stay.reactor.advance(1)
        assert stay.attempts == 1
    else:
        (failed,) = told
        assert isinstance(failed, UnicodeError)


def test_after_one_that_lasted_it_begins_anew(stay: Stay) -> None:
    stay.unreachable()
    stay.reactor.advance(1)
    server = stay.accepted()
    stay.reactor.advance(10)
    server.lose()
    assert stay.told()[-1] == ("ConnectionClosed", 1)


def test_a_server_may_ask_to_be_left_alone(stay: Stay) -> None:
    stay.refused(b"503 Busy\r\nRetry-After: 30")
    assert stay.told() == [("HandshakeError", 31)]
    stay.reactor.advance(31)
    stay.refused(b"429 Slow down\r\nRetry-After: 999999999")
    assert stay.told() == [("HandshakeError", 302)]


def test_it_gives_up_where_trying_again_cannot_help(stay: Stay) -> None:
    stay.refused(b"403 Forbidden")
    (failed,) = stay.told()
    assert isinstance(failed, HandshakeError)
    assert stay.stop() == [None]
    stay.reactor.advance(1000)
    assert stay.attempts == 1


class TestAgain:
    def test_as_a_connection_is_lost_it_does_not_wait(self, stay: Stay) -> None:
        server = stay.accepted()
        stay.staying._lost = lambda connection, error: stay.staying.again()
        server.lose()
        assert stay.attempts == 2
        stay.accepted()
        assert stay.told()[-2:] == ["open", "connected"]

    def test_while_it_waits_it_waits_no_more(self, stay: Stay) -> None:
        stay.unreachable()
        stay.staying.again()
        assert stay.attempts == 2
        stay.reactor.advance(1000)
        assert stay.attempts == 2


class TestWithoutRetries:
    def test_it_gives_up_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stay = Stay(monkeypatch, retries=False)
        stay.unreachable()
        (failed,) = stay.told()
        assert isinstance(failed, ConnectError)
        stay.reactor.advance(1000)
        assert stay.attempts == 1

    def test_what_was_stopped_has_not_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stay = Stay(monkeypatch, retries=False)
        assert stay.stop() == [None]
        assert stay.told() == []


def test_the_log_of_twisteds_service_has_no_secrets(stay: Stay, logged: Logged) -> None:
    stay.unreachable()
    assert "retry 1 to connect 127.0.0.1:8080 in 1.0 seconds" in logged.text
    assert "secret" not in logged.text


class TestStopping:
    def test_an_open_connection_is_closed_with_1000(self, stay: Stay) -> None:
        server = stay.accepted()
        stopped = stay.stop()
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert stopped == []
        server.send(frame(CLOSE, close_payload(1000), masked=False))
        server.lose()
        assert stopped == [None]
        stay.reactor.advance(1000)
        assert stay.told()[2:] == [("close", 1000), ("lost", 1000)]
        assert stay.attempts == 1

    def test_one_that_shakes_hands_is_given_up(self, stay: Stay) -> None:
        server = stay.reached()
        stopped = stay.stop()
        assert server.aborted
        server.lose()
        assert (stopped, stay.told()) == ([None], [])

    def test_while_it_waits_it_tries_no_more(self, stay: Stay) -> None:
        stay.refused(b"503 Busy")
        assert stay.stop() == [None]
        stay.reactor.advance(1000)
        assert (stay.told(), stay.attempts) == ([], 1)

    def test_as_it_gives_up(self, stay: Stay) -> None:
        stay.refused(b"403 Forbidden")
        assert stay.stop() == [None]
        assert stay.told() == []

    def test_it_can_begin_again(self, stay: Stay) -> None:
        server = stay.accepted()
        stay.stop()
        server.lose()
        stay.staying.start()
        stay.accepted()
        assert stay.told()[-2:] == ["open", "connected"]


def test_who_is_told_of_a_retry_may_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stay = Stay(monkeypatch)
    stopped: list[Any] = []
    stay.staying._retrying = lambda error, delay: stopped.extend(stay.stop())
    stay.unreachable()
    stay.told()
    assert stopped == [None]
    stay.reactor.advance(1000)
    assert stay.attempts == 1
