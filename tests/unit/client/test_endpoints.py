"""The way to a server, on a reactor that has no network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client.endpoints import ProxyError, ProxyTLSError, reason, way_to
from wsservice.client.options import ClientConfig
from wsservice.client.security import Security
from wsservice.client.trace import HandshakeTrace
from wsservice.errors import ConfigError

from ...certificates import Authority
from ...support import Peer

HERE = "127.0.0.1"


class Trying:
    """A connection that is tried."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.lines: list[str] = []
        config = ClientConfig(url=url, **settings)
        self.way = way_to(config, self.reactor, HandshakeTrace(self.lines.append))
        self.outcome: list[Any] = []
        self.connecting = self.way.endpoint.connect(Factory.forProtocol(Protocol))
        self.connecting.addBoth(self.outcome.append)

    @property
    def places(self) -> list[tuple[str, int]]:
        """Return the hosts and ports that it connected to."""
        return [each[:2] for each in self.reactor.tcpClients]

    def made(self) -> Peer:
        """The first connection, made."""
        factory = self.reactor.tcpClients[0][2]
        return Peer(factory.buildProtocol(IPv4Address("TCP", HERE, 80)))

    def refused(self, why: Exception) -> None:
        self.reactor.tcpClients[0][2].clientConnectionFailed(
            self.reactor.connectors[0], Failure(why)
        )
        self.reactor.advance(1)


def test_to_the_host_and_port() -> None:
    trying = Trying(f"ws://{HERE}:8080/", connect_timeout=3)
    assert trying.places == [(HERE, 8080)]
    assert trying.way.security is None
    trying.made()
    assert isinstance(trying.outcome[0], Protocol)


def test_of_several_addresses_the_next_is_tried_while_the_first_does_not_answer() -> None:
    trying = Trying("ws://a.example/", resolve=["a.example:80:[::1],127.0.0.1"])
    assert trying.places == [("::1", 80)]
    trying.reactor.advance(0.31)
    assert trying.places == [("::1", 80), (HERE, 80)]
    factory = trying.reactor.tcpClients[1][2]
    Peer(factory.buildProtocol(IPv4Address("TCP", HERE, 80)))
    assert isinstance(trying.outcome[0], Protocol)
    assert trying.reactor.connectors[0].stoppedConnecting


def test_only_those_of_a_kind() -> None:
    trying = Trying("ws://a.example/", resolve=["a.example:80:[::1],127.0.0.1"], ip_version=4)
    assert trying.places == [(HERE, 80)]


@pytest.mark.parametrize(
    ("url", "version", "said"),
    [
        ("ws://127.0.0.1/", 6, "--ipv6: 127.0.0.1 is an IPv4 address; give a name or an IPv6"),
        ("ws://[::1]/", 4, "--ipv4: ::1 is an IPv6 address; give a name or an IPv4 address"),
        ("ws://[fe80::1%25lo]/", 4, "--ipv4: fe80::1%lo is an IPv6 address"),
    ],
)
def test_an_address_of_the_other_kind_is_said(url: str, version: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Trying(url, ip_version=version)
    assert str(caught.value).startswith(said)
    with pytest.raises(ConfigError):
        Trying("ws://a.example/", ip_version=version, proxy=f"http://{url[5:-1]}:1")
    # With a proxy, the address to connect to is the proxy's.
    Trying(url, ip_version=version, proxy="http://p.example", resolve=["p.example:80:::1"])


def test_a_name_without_an_address_of_the_kind_is_said() -> None:
    trying = Trying("ws://a.example/", resolve=["a.example:80:127.0.0.1"], ip_version=6)
    (failure,) = trying.outcome
    assert reason(failure, 6) == "its name is not known, or has no IPv6 address"


def test_to_an_address_with_a_zone() -> None:
    assert Trying("ws://[fe80::1%25lo]:9/").places == [("fe80::1%lo", 9)]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_to_a_name_that_twisted_does_not_take(scheme: str) -> None:
    for host in ("my_service", "r3---sn.cdn.example", "a.example."):
        trying = Trying(f"{scheme}://{host}:9/", resolve=[f"{host}:9:127.0.0.1"])
        assert trying.places == [(HERE, 9)]
        if scheme == "wss":
            hello = trying.made().taken()
            assert host.removesuffix(".").encode() in hello
            assert host.encode() in hello or host.endswith(".")


def test_to_a_unix_socket() -> None:
    trying = Trying("ws+unix:/run/x.sock:/p")
    assert trying.reactor.unixClients[0][0] == "/run/x.sock"
    assert trying.places == []


def test_tls_has_the_name_of_the_url_wherever_that_leads() -> None:
    trying = Trying("wss://a.example/", resolve=["a.example:443:127.0.0.1"])
    assert trying.places == [(HERE, 443)]
    assert trying.way.security is not None
    hello = trying.made().taken()
    assert hello[:2] == b"\x16\x03"
    assert b"a.example" in hello


def test_files_of_tls_that_are_not_there_are_raised_at_once() -> None:
    with pytest.raises(ConfigError, match="--ca: cannot read"):
        Trying("wss://a.example/", ca="/nowhere")


class TestProxy:
    def test_of_http(self) -> None:
        trying = Trying("ws://a.example:99/", proxy=f"http://u:p@{HERE}:3128")
        assert trying.places == [(HERE, 3128)]
        proxy = trying.made()
        assert proxy.taken().startswith(b"CONNECT a.example:99 HTTP/1.1\r\n")
        proxy.send(b"HTTP/1.1 200 OK\r\n\r\n")
        assert isinstance(trying.outcome[0], Protocol)
        assert trying.lines[0] == f"* through the proxy http://{HERE}:3128"

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"{HERE}:1")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert Trying(f"ws://{HERE}:9/", proxy="environment").places == [(HERE, 1)]
        assert Trying(f"ws://{HERE}:9/").places == [(HERE, 9)]

    def test_tls_goes_through_it(self) -> None:
        trying = Trying("wss://a.example/", proxy=f"{HERE}:3128")
        proxy = trying.made()
        assert proxy.taken().startswith(b"CONNECT a.example:443 ")
        proxy.send(b"HTTP/1.1 200 OK\r\n\r\n")
        assert proxy.taken()[:2] == b"\x16\x03"

    def test_that_speaks_tls_itself(self, tmp_path: Path) -> None:
        key, certificate = Authority(tmp_path).certificate("me.example")
        trying = Trying(
            "ws://a.example/",
            proxy=f"https://{HERE}:3128",
            insecure=True,
            cert=str(certificate),
            key=str(key),
        )
        proxy = trying.made()
        assert proxy.taken()[:2] == b"\x16\x03"
        proxy.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        proxy.lose()
        (failure,) = trying.outcome
        assert failure.check(ProxyTLSError)
        assert str(failure.value) == (
            f"TLS with the proxy https://{HERE}:3128 failed,"
            " the server does not speak it (wrong version number)"
        )

    def test_that_speaks_tls_is_verified_and_not_told_who_we_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority = Authority(tmp_path)
        key, certificate = map(str, authority.certificate("me.example"))
        made: list[dict[str, Any]] = []

        class Recorded(Security):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                made.append(kwargs)
                super().__init__(*args, **kwargs)

        monkeypatch.setattr("wsservice.client.endpoints.Security", Recorded)
        ca = str(authority.file)
        Trying(
            "ws://a.example/",
            proxy=f"https://{HERE}:1",
            ca=ca,
            cert=certificate,
            key=key,
            insecure=True,
        )
        assert made == [{"ca": ca}]

    def test_of_socks_that_looks_up_names(self) -> None:
        trying = Trying("ws://a.example/", proxy=f"socks5h://{HERE}")
        assert trying.places == [(HERE, 1080)]
        proxy = trying.made()
        proxy.send(b"\5\0")
        assert proxy.taken().endswith(b"\3\x09a.example\0\x50")

    @pytest.mark.parametrize(
        ("addresses", "said"),
        [
            ("[::1],127.0.0.2", b"\1\x7f\0\0\2\0\x50"),
            ("[::1]", b"\4" + bytes(15) + b"\1\0\x50"),
        ],
    )
    def test_of_socks_that_does_not(self, addresses: str, said: bytes) -> None:
        trying = Trying(
            "ws://a.example/", proxy=f"socks5://{HERE}", resolve=[f"a.example:80:{addresses}"]
        )
        proxy = trying.made()
        proxy.send(b"\5\0")
        assert proxy.taken().endswith(said)

    @pytest.mark.parametrize(
        ("why", "words"),
        [
            (error.ConnectionRefusedError(111), "connection refused"),
            (error.TimeoutError(), "no answer"),
            (error.DNSLookupError(), "its name is not known"),
        ],
    )
    def test_that_is_not_reached(self, why: Exception, words: str) -> None:
        trying = Trying("ws://a.example/", proxy=f"http://u:secret@{HERE}:3128")
        trying.refused(why)
        (failure,) = trying.outcome
        assert failure.check(ProxyError)
        assert str(failure.value) == f"the proxy http://{HERE}:3128: {words}"

    def test_that_will_not(self) -> None:
        trying = Trying("ws://a.example/", proxy=f"http://u:secret@{HERE}:3128")
        trying.made().send(b"HTTP/1.1 407 \x1b[2J\r\n\r\n")
        assert str(trying.outcome[0].value) == (
            rf"the proxy http://{HERE}:3128: it answered 407 \x1b[2J;"
            " it wants another name and password, as USER:PASS@ in its URL"
        )

    def test_that_breaks_off(self) -> None:
        trying = Trying("ws://a.example/", proxy=f"{HERE}:3128")
        trying.made().lose()
        assert str(trying.outcome[0].value) == f"the proxy http://{HERE}:3128: it broke off"

    def test_that_is_given_up(self) -> None:
        trying = Trying("ws://a.example/", proxy=f"{HERE}:3128")
        proxy = trying.made()
        trying.connecting.cancel()
        assert proxy.aborted


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (error.ConnectionRefusedError(111), "connection refused"),
        (error.ConnectError(113), "no route to host"),
        (error.DNSLookupError("no results"), "its name is not known"),
        (error.TimeoutError(), "no answer"),
        (socket.gaierror(-2, "unknown"), "this machine has no such address, or zone of one"),
        (error.ConnectionLost(), "it broke off"),
        (ValueError("a\nb\x1b"), r"a\nb\x1b"),
    ],
)
def test_the_reason_is_a_few_words_in_one_line(why: Exception, words: str) -> None:
    assert reason(Failure(why)) == words


def test_ways_are_endpoints() -> None:
    assert IStreamClientEndpoint.providedBy(Trying("ws://a/", proxy=HERE).way.endpoint)
