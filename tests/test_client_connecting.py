from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client import ClientProtocol, connect
from wsservice.errors import ConfigError, ConnectError, HandshakeError, TLSError

from .support import Logged, Server

URL = "ws://127.0.0.1:8080/there"


class Reactor(MemoryReactorClock):
    """Has one network connection to make, and makes it, or does not, when told to."""

    def made(self, which: int = 0) -> Server:
        factory = self.tcpClients[which][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080))
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


class TestRedirects:
    def sent(self, reactor: Reactor, location: str, status: int = 302) -> Any:
        """The last connection is answered by a redirect; gives the next one's server, if any."""
        count = len(reactor.tcpClients)
        server = reactor.made(count - 1)
        server.taken()
        server.send(f"HTTP/1.1 {status} X\r\nLocation: {location}\r\n\r\n".encode("latin-1"))
        assert server.aborted
        server.lose()
        return len(reactor.tcpClients) > count

    def test_it_goes_where_it_is_sent(self, reactor: Reactor) -> None:
        lines: list[str] = []
        _, outcome = connecting(reactor, auth=("u", "p"), trace=lines.append)
        assert self.sent(reactor, "/elsewhere")
        server = reactor.made(1).accept()
        assert server.request.startswith(b"GET /elsewhere ")
        assert b"Authorization: Basic dTpw" in server.request
        assert isinstance(outcome[0], ClientProtocol)
        assert [line for line in lines if line.startswith("* ")] == [
            f"* connecting to {URL}",
            "* connecting to ws://127.0.0.1:8080/elsewhere",
        ]

    def test_to_another_origin_without_credentials(self, reactor: Reactor) -> None:
        connecting(reactor, auth=("u", "p"), headers={"X-Key": "k"}, cookies="a=b")
        assert self.sent(reactor, "ws://b.example:9/there")
        assert reactor.tcpClients[1][1] == 9
        request = reactor.made(1).taken()
        for secret in (b"Authorization", b"X-Key", b"Cookie"):
            assert secret not in request

    def test_a_loop_ends(self, reactor: Reactor) -> None:
        _, outcome = connecting(reactor, max_redirects=3)
        for _ in range(3):
            assert self.sent(reactor, "/there")
        assert not self.sent(reactor, "/there")
        (failure,) = outcome
        assert failure.check(HandshakeError)
        assert str(failure.value) == (
            f"{URL} leads elsewhere: 3 redirects are enough, --max-redirects; 302 to /there"
        )

    @pytest.mark.parametrize(
        "location",
        ["file:///etc/passwd", "ws+unix:/run/x", "http://u:p@a/", "ws://\x1b", "x" * 9999],
    )
    def test_where_it_must_not_go_it_does_not(self, reactor: Reactor, location: str) -> None:
        _, outcome = connecting(reactor, max_redirects=1)
        if location.startswith("x"):
            self.sent(reactor, location)
        assert not self.sent(reactor, location)
        (failure,) = outcome
        assert failure.check(HandshakeError)
        assert failure.value.status == 302
        assert str(failure.value).isprintable()
        assert len(str(failure.value)) < 650

    def test_it_can_be_given_up_on_the_way(self, reactor: Reactor) -> None:
        opened, outcome = connecting(reactor)
        self.sent(reactor, "/elsewhere")
        opened.cancel()
        assert outcome[0].check(CancelledError)
        assert reactor.connectors[1].stoppedConnecting


def test_a_proxy_that_refuses_is_a_connect_error(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, proxy="http://u:secret@127.0.0.1:3128")
    reactor.made().send(b"HTTP/1.1 407 No\r\n\r\n")
    (failure,) = outcome
    assert type(failure.value) is ConnectError
    assert str(failure.value) == (
        f"cannot connect to {URL}: the proxy http://127.0.0.1:3128: it answered 407 No;"
        " it wants another name and password"
    )


def test_a_proxy_whose_tls_fails_is_a_tls_error(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, proxy="https://127.0.0.1:3128")
    server = reactor.made()
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    server.lose()
    (failure,) = outcome
    assert type(failure.value) is TLSError


def test_a_proxy_that_says_nothing_is_given_up(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, proxy="http://127.0.0.1:3128", connect_timeout=3)
    server = reactor.made()
    reactor.advance(3)
    assert server.aborted
    assert str(outcome[0].value) == (
        f"cannot connect to {URL}: no answer, by way of the proxy http://127.0.0.1:3128"
    )


def test_a_server_that_says_nothing_is_given_up(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, connect_timeout=3)
    reactor.advance(3)
    assert str(outcome[0].value) == f"cannot connect to {URL}: no answer"


def test_without_a_limit_it_is_waited_for(reactor: Reactor) -> None:
    _, outcome = connecting(reactor, connect_timeout=0)
    reactor.advance(999)
    assert outcome == []


def test_that_nothing_is_verified_is_logged(reactor: Reactor, logged: Logged) -> None:
    url = "wss://127.0.0.1:8080/"
    connect(url, reactor=reactor, insecure=True).addErrback(lambda _: None)
    assert f"{url}: the server's certificate is not verified" in logged.text


def test_tls_errors_are_connect_errors_too() -> None:
    assert issubclass(TLSError, ConnectError)


def test_a_secure_url_is_spoken_tls_with(reactor: Reactor) -> None:
    connect("wss://127.0.0.1/", reactor=reactor).addErrback(lambda _: None)
    server = reactor.made()
    # A TLS record that holds a ClientHello.
    assert server.taken()[:2] == b"\x16\x03"
