from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client import ClientProtocol, connect
from wsservice.client.connecting import _unreachable
from wsservice.errors import ConfigError, ConnectError, HandshakeError, TLSError

from .support import Server

URL = "ws://127.0.0.1:8080/there"


class Reactor(MemoryReactorClock):
    """Has one network connection to make, and makes it, or does not, when told to."""

    def made(self) -> Server:
        protocol = self.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080))
        return Server(protocol)

    def refuse(self, why: Exception) -> None:
        self.tcpClients[0][2].clientConnectionFailed(self.connectors[0], Failure(why))
        self.advance(1)  # until the endpoint sees that there is no other address


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def connecting(reactor: Reactor, **settings: Any) -> tuple[Any, list[Any]]:
    outcome: list[Any] = []
    opened = connect(URL, reactor=reactor, **settings)
    opened.addBoth(outcome.append)
    return opened, outcome


def test_it_fires_with_the_open_connection(reactor: Reactor) -> None:
    class Mine(ClientProtocol):
        pass

    _, outcome = connecting(reactor, protocol=Mine)
    server = reactor.made()
    assert outcome == []
    server.accept()
    (protocol,) = outcome
    assert isinstance(protocol, Mine)


def test_it_connects_to_the_host_and_port_of_the_url(reactor: Reactor) -> None:
    connecting(reactor)
    assert reactor.tcpClients[0][:2] == ("127.0.0.1", 8080)


def test_settings_are_those_of_client_config(reactor: Reactor) -> None:
    connecting(reactor, headers={"X-A": "1"})
    assert b"\r\nX-A: 1\r\n" in reactor.made().taken()


@pytest.mark.parametrize("settings", [{"close_timeout": -1}, {"headers": {"a b": ""}}])
def test_a_setting_that_is_not_allowed_is_raised_at_once(
    reactor: Reactor, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        connect(URL, reactor=reactor, **settings)
    with pytest.raises(ConfigError):
        connect("http://localhost/", reactor=reactor)
    assert reactor.tcpClients == []


def test_a_server_that_is_not_there_is_a_connect_error(reactor: Reactor) -> None:
    _, outcome = connecting(reactor)
    reactor.refuse(error.ConnectionRefusedError(111))
    (failure,) = outcome
    assert failure.check(ConnectError)
    assert str(failure.value) == f"cannot connect to {URL}: connection refused"


def test_no_answer_within_the_connect_timeout_is_a_connect_error(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, connect_timeout=3)
    assert reactor.tcpClients[0][3] == 3
    reactor.refuse(error.TimeoutError())
    (failure,) = outcome
    assert str(failure.value) == f"cannot connect to {URL}: no answer"


def test_a_refused_handshake_is_a_handshake_error(reactor: Reactor) -> None:
    _, outcome = connecting(reactor)
    server = reactor.made()
    server.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
    server.lose()
    (failure,) = outcome
    assert failure.check(HandshakeError)
    assert failure.value.status == 404


class TestCancelling:
    def test_before_the_network_answered(self, reactor: Reactor) -> None:
        opened, outcome = connecting(reactor)
        opened.cancel()
        (failure,) = outcome
        assert failure.check(CancelledError)
        assert reactor.connectors[0].stoppedConnecting

    def test_before_the_server_answered(self, reactor: Reactor) -> None:
        opened, outcome = connecting(reactor)
        server = reactor.made()
        opened.cancel()
        (failure,) = outcome
        assert failure.check(CancelledError)
        assert server.aborted
        server.lose()
        assert len(outcome) == 1

    def test_after_it_is_open_changes_nothing(self, reactor: Reactor) -> None:
        opened, outcome = connecting(reactor)
        server = reactor.made().accept()
        opened.cancel()
        assert len(outcome) == 1
        assert not server.aborted


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (error.ConnectionRefusedError(111), "connection refused"),
        (error.ConnectError(113), "no route to host"),
        (error.DNSLookupError("no results"), "its name is not known"),
        (error.TimeoutError(), "no answer"),
        (ValueError("a\nb\x1b"), r"a\nb\x1b"),
    ],
)
def test_the_reason_is_a_few_words_in_one_line(why: Exception, words: str) -> None:
    unreachable = _unreachable("ws://a\x1b/", Failure(why))
    assert type(unreachable) is ConnectError
    assert str(unreachable) == rf"cannot connect to ws://a\x1b/: {words}"


def test_tls_errors_are_connect_errors_too() -> None:
    assert issubclass(TLSError, ConnectError)


def test_a_secure_url_is_spoken_tls_with(reactor: Reactor) -> None:
    connect("wss://127.0.0.1/", reactor=reactor).addErrback(lambda _: None)
    server = reactor.made()
    # A TLS record that holds a ClientHello.
    assert server.taken()[:2] == b"\x16\x03"
