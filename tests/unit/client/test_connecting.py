from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client import ClientProtocol, connect
from wsservice.client.opening import Opening
from wsservice.errors import ConfigError, ConnectError, HandshakeError, TLSError

from ...support import Logged, Server

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


def _fails(*_: object) -> Any:
    raise UnicodeError("unforeseen\n")


@pytest.mark.parametrize("where", ["way_to", "ClientFactory", "_unreachable"])
def test_whatever_fails_is_a_connect_error(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, where: str, logged: Logged
) -> None:
    monkeypatch.setattr(f"wsservice.client.connecting.{where}", _fails)
    _, outcome = connecting(reactor)
    if where == "_unreachable":
        reactor.refuse(error.ConnectionRefusedError(111))
    (failure,) = outcome
    assert failure.check(ConnectError)
    assert str(failure.value) == f"cannot connect to {URL}: unforeseen\\n"
    assert len(logged.failures) == 1


@pytest.mark.parametrize("where", [(Opening, "why_not"), (ClientProtocol, "onClose")])
def test_whatever_fails_at_the_end_of_a_handshake_is_a_handshake_error(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], logged: Logged
) -> None:
    monkeypatch.setattr(*where, _fails)
    _, outcome = connecting(reactor)
    server = reactor.made()
    server.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
    server.lose()
    (failure,) = outcome
    assert failure.check(HandshakeError)
    assert str(failure.value).isprintable()


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
    def sent(self, reactor: Reactor, location: str, status: int = 302, after: float = 0.0) -> Any:
        """The last connection is answered by a redirect; gives the next one's server, if any."""
        count = len(reactor.tcpClients)
        server = reactor.made(count - 1)
        server.taken()
        reactor.advance(after)
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
            f"{URL} redirects: at most 3 redirects are followed, by --max-redirects; 302 to /there"
        )

    def test_all_of_them_together_have_the_time_of_one_to_answer(self, reactor: Reactor) -> None:
        _, outcome = connecting(reactor, handshake_timeout=5)
        for _ in range(2):
            assert self.sent(reactor, "/there", after=2)
        server = reactor.made(2)
        aborted = []
        for seconds in (0.9, 0.2):
            reactor.advance(seconds)
            aborted.append(server.aborted)
        assert aborted == [False, True]
        server.lose()
        assert outcome[0].check(HandshakeError)

    def test_all_of_them_together_have_the_time_of_one_to_connect(self, reactor: Reactor) -> None:
        _, outcome = connecting(reactor, connect_timeout=5, handshake_timeout=0)
        for _ in range(2):
            reactor.advance(2)
            assert self.sent(reactor, "/there")
        reactor.advance(0.9)
        assert outcome == []
        reactor.advance(0.2)
        assert outcome[0].check(ConnectError)

    def test_without_limits_there_are_none(self, reactor: Reactor) -> None:
        _, outcome = connecting(reactor, connect_timeout=0, handshake_timeout=0)
        reactor.advance(1000)
        assert self.sent(reactor, "/there")
        reactor.advance(1000)
        reactor.made(1).accept()
        assert isinstance(outcome[0], ClientProtocol)

    def test_to_another_origin_no_token_goes_as_a_subprotocol(self, reactor: Reactor) -> None:
        connecting(
            reactor,
            subprotocols=["s3cret", "wsservice.v1"],
            origin="https://o.example",
            trace=print,
        )
        assert self.sent(reactor, "ws://b.example:9/there")
        request = reactor.made(1).taken()
        assert b"s3cret" not in request
        assert b"\r\nSec-WebSocket-Protocol: wsservice.v1\r\n" in request
        assert b"Origin" not in request

    def test_where_it_was_sent_is_told_without_secrets(self, reactor: Reactor) -> None:
        _, outcome = connecting(reactor, max_redirects=1)
        self.sent(reactor, "ws://b.example/?token=hunter2")
        assert not self.sent(reactor, "ws://c.example/?token=hunter2")
        assert "hunter2" not in str(outcome[0].value)
        assert str(outcome[0].value).endswith("302 to ws://c.example/?token=********")

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

    @pytest.mark.parametrize("scheme", ["ws", "wss", "http", "https"])
    @pytest.mark.parametrize("host", ["my_service", "r3---sn.cdn.example", "a.example."])
    def test_it_goes_to_every_name_that_dns_may_have(
        self, reactor: Reactor, scheme: str, host: str
    ) -> None:
        pins = [f"{host}:9:192.0.2.1"]
        _, outcome = connecting(reactor, resolve=pins)
        assert self.sent(reactor, f"{scheme}://{host}:9/")
        assert reactor.tcpClients[1][:2] == ("192.0.2.1", 9)
        assert outcome == []

    @pytest.mark.parametrize(
        "location",
        [
            "ws://a..b/",
            "wss://.a/",
            "ws://" + "x" * 64,
            "wss://a~b/",
            "wss://1234/",
            "ws://ü_/",
            "ws://[fe80::1%/",
            "ws://[::g]/",
            "//a..b",
            "ws+unix:" + "x" * 200,
        ],
    )
    def test_a_name_that_cannot_be_has_an_end(self, reactor: Reactor, location: str) -> None:
        _, outcome = connecting(reactor)
        assert not self.sent(reactor, location)
        (failure,) = outcome
        assert failure.check(HandshakeError)
        assert str(failure.value).isprintable()

    def test_in_utf_8_it_is_what_browsers_take_it_for(self, reactor: Reactor) -> None:
        connecting(reactor)
        assert self.sent(reactor, "/ü?é".encode().decode("latin-1"))
        assert reactor.made(1).taken().startswith(b"GET /%C3%BC?%C3%A9 HTTP/1.1\r\n")

    def test_whatever_fails_on_the_way_is_an_end(
        self, reactor: Reactor, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        _, outcome = connecting(reactor)
        monkeypatch.setattr("wsservice.client.connecting.way_to", _fails)
        assert not self.sent(reactor, "/elsewhere")
        (failure,) = outcome
        assert failure.check(ConnectError)
        assert str(failure.value) == f"cannot connect to {URL}: unforeseen\\n"
        assert len(logged.failures) == 1

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
        " it wants another name and password, as USER:PASS@ in its URL"
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
