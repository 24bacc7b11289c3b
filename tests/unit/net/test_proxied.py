from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection as TCPConnection
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory

from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.net.gathering import Gathering
from wsservice.net.listening import endpoint, endpoints, tls_of
from wsservice.net.proxied import ProxiedEndpoint, ProxiedFactory
from wsservice.net.tls import TLSTransport, quicken
from wsservice.net.transports import plain
from wsservice.server.behaviours import EchoServerProtocol

from ...certificates import Authority
from ...support import TEXT, Client, Logged, Served, opening_request
from .test_proxy_header import LEGAL, SIX, WRONG, binary, inet

GATEWAY = IPv4Address("TCP", "10.0.0.9", 40000)
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80\r\n"


class Fronted:
    """A server in memory whose connections begin with a header."""

    def __init__(self, **settings: Any) -> None:
        listen = ("haproxy:tcp:8080",)
        self.served = Served(EchoServerProtocol, listen=listen, **settings)
        server = self.served.factory
        self.factory = ProxiedFactory(
            "--listen haproxy:tcp:8080", server, self.served.clock, server
        )

    def connect(self) -> Client:
        made: Any = self.factory.buildProtocol(GATEWAY)
        return Client(made, GATEWAY)

    @property
    def refusals(self) -> int:
        count: int = self.served.factory.counts.refusals["no PROXY header"]
        return count


@pytest.fixture
def fronted() -> Fronted:
    return Fronted()


def test_what_comes_behind_the_header_is_the_protocols(fronted: Fronted) -> None:
    client = fronted.connect()
    for octets in (HEADER[:3], HEADER[3:] + opening_request()[:9], opening_request()[9:]):
        assert client.taken() == b""
        client.send(octets)
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    client.text("hello")
    assert client.frames() == [(TEXT, b"hello")]


@pytest.mark.parametrize(("octets", "header"), LEGAL)
def test_the_peer_is_whom_the_header_names(fronted: Fronted, octets: bytes, header: Any) -> None:
    client = fronted.connect()
    client.send(octets + opening_request())
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    peer = client.protocol.getPeer()
    if header.is_unix:
        assert peer == UNIXAddress(None)
    elif header.source is None:
        assert peer == GATEWAY
    else:
        assert (peer.host, peer.port) == header.source
        host = client.protocol.getHost()
        assert (host.host, host.port) == header.destination
        assert isinstance(peer, IPv6Address if ":" in peer.host else IPv4Address)
    assert fronted.refusals == 0


def test_ipv6_is_shown_in_its_short_form_by_both_versions(fronted: Fronted) -> None:
    for header in (
        b"PROXY TCP6 2001:0db8:0:0:0:0:0:7 2001:db8::1 5007 443\r\n",
        binary(0x21, 0x21, inet("2001:db8::7", "2001:db8::1", 5007, 443)),
    ):
        client = fronted.connect()
        client.send(header + opening_request())
        assert client.protocol.wrappedProtocol.who.endswith(" [2001:db8::7]:5007")
        assert client.protocol.wrappedProtocol.peer == f"tcp6:{SIX[0][0]}:5007"


@pytest.mark.parametrize(("octets", "why"), WRONG)
def test_what_has_none_is_dropped_counted_and_logged(
    fronted: Fronted, logged: Logged, octets: bytes, why: str
) -> None:
    client = fronted.connect()
    client.send(octets)
    client.send(opening_request())
    assert client.aborted
    assert client.taken() == b""
    client.lose()
    assert fronted.refusals == 1
    assert sum(fronted.served.factory.counts.refusals.values()) == 1
    (line,) = logged.text.splitlines()
    assert line.startswith(
        "[wsservice#warn] --listen haproxy:tcp:8080: dropped a connection from 10.0.0.9:40000: it"
    )
    assert why in line
    assert line.endswith(" (1 so far)")
    assert logged.failures == []


def test_they_are_logged_at_most_every_10_seconds(fronted: Fronted, logged: Logged) -> None:
    for seconds, lines in ((0, 1), (9, 1), (2, 2), (0, 2)):
        fronted.served.clock.advance(seconds)
        client = fronted.connect()
        client.send(b"GET / HTTP/1.1\r\n")
        client.lose()
        assert logged.text.count("dropped a connection from") == lines
    assert logged.text.endswith("(3 so far)")
    assert fronted.refusals == 4


def test_a_check_that_only_connects_is_none_of_them(fronted: Fronted, logged: Logged) -> None:
    client = fronted.connect()
    client.lose()
    assert fronted.refusals == 0
    assert logged.text == ""


@pytest.mark.parametrize("octets", [b"", HEADER[:-1], binary(0x21, 0x00, b"", bytes(99))[:-1]])
def test_a_header_that_takes_too_long_ends_with_the_handshake(octets: bytes) -> None:
    fronted = Fronted(handshake_timeout=3)
    client = fronted.connect()
    if octets:
        client.send(octets)
    fronted.served.clock.advance(2.9)
    dropped = [client.dropped]
    fronted.served.clock.advance(0.2)
    assert [*dropped, client.dropped] == [False, True]
    assert fronted.served.factory.counts.refusals["timed out"] == 1


def test_a_connection_that_was_refused_leaves_nothing() -> None:
    fronted = Fronted(max_connections=1)
    for _ in range(3):
        client = fronted.connect()
        client.send(b"x")
        client.lose()
    assert len(fronted.served.hub) == 0
    client = fronted.connect()
    client.send(HEADER + opening_request())
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    assert not fronted.factory.protocols


def test_a_factory_that_counts_nothing(logged: Logged) -> None:
    factory = ProxiedFactory("--admin haproxy:x", Factory.forProtocol(Protocol), Clocked())
    factory.refuse(GATEWAY, "it has none")
    assert "--admin haproxy:x: dropped" in logged.text


class Clocked:
    @staticmethod
    def seconds() -> float:
        return 0.0


class Socket:
    def setblocking(self, flag: bool) -> None:
        """As a socket's."""

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: Any) -> None:
        """As a socket's."""

    def send(self, data: bytes) -> int:
        return len(data)


def test_nothing_stands_between_the_socket_and_the_protocol_after_it(fronted: Fronted) -> None:
    wrapper: Any = fronted.factory.buildProtocol(GATEWAY)
    socket: Any = Socket()
    tcp: Any = TCPConnection(socket, wrapper, MemoryReactorClock())
    tcp.connected = True
    tcp.getPeer = tcp.getHost = lambda: GATEWAY
    wrapper.makeConnection(tcp)
    protocol: Any = wrapper.wrappedProtocol
    assert [plain(wrapper)] == [tcp]
    tcp.protocol.dataReceived(HEADER + opening_request())
    assert tcp.protocol is protocol
    assert wrapper.wrappedProtocol is None
    assert protocol.transport.getPeer() == IPv4Address("TCP", "192.0.2.7", 5007)


class Reactor(MemoryReactorClock):
    """Tells what listens."""

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.listening = (port, factory, backlog, interface)
        return super().listenTCP(port, factory, backlog, interface)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestEndpoint:
    def test_the_header_is_in_front_of_tls(self, tmp_path: Any) -> None:
        key, certificate = Authority(tmp_path).certificate()
        reactor = Reactor()
        described = f"haproxy:ssl:8443:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        _, made = endpoint("--listen", described, reactor)
        assert tls_of(made) is not None
        inner = Factory.forProtocol(Protocol)
        made.listen(inner)
        port, factory, backlog, interface = reactor.listening
        assert (port, backlog, interface) == (8443, 50, "127.0.0.1")
        assert isinstance(factory, ProxiedFactory)
        assert isinstance(factory.wrappedFactory, TLSMemoryBIOFactory)
        assert factory.wrappedFactory.wrappedFactory is inner
        assert factory.logPrefix() == "Factory (TLS) (PROXY)"

        quicken(SimpleNamespace(factory=factory), Gathering())
        assert isinstance(factory.buildProtocol(GATEWAY), factory.protocol)
        assert factory.wrappedFactory.protocol.func is TLSTransport  # type: ignore[attr-defined]

    def test_without_tls_the_endpoint_is_twisteds(self) -> None:
        reactor = Reactor()
        ((_, made),) = endpoints(Config(listen=("haproxy:tcp:80:interface=127.0.0.1",)), reactor)
        assert isinstance(made, ProxiedEndpoint)
        assert isinstance(made._wrappedEndpoint, TCP4ServerEndpoint)
        inner = Factory()
        made.listen(inner)
        _, factory, _, interface = reactor.listening
        assert factory.wrappedFactory is inner
        assert factory.logPrefix() == "Factory (PROXY)"
        assert interface == "127.0.0.1"

    @pytest.mark.parametrize(
        "described", ["haproxy:", "haproxy:tcp", "haproxy:tcp:x", "haproxy:no:1"]
    )
    def test_one_that_is_none(self, described: str) -> None:
        with pytest.raises(ConfigError, match=f"^--listen {described}: is not an endpoint"):
            endpoint("--listen", described, Reactor())
