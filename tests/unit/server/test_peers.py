"""peers.py: the client's address behind proxies that are trusted, and nobody else's word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import formatEvent

from wsservice.config.config import Config
from wsservice.directory.listing import Wanted, list_of
from wsservice.http import forwarded
from wsservice.server import peers
from wsservice.server.behaviours import ServerFactory, ServerProtocol
from wsservice.server.identity import ConnectionInquiry
from wsservice.webhook import events as webhook

from ..http.test_request import head
from .test_opening_handshake import Peer, factory_of, observed

PROXY = IPv4Address("TCP", "10.0.0.1", 40000)
STRANGER = IPv4Address("TCP", "192.0.2.1", 5000)
FORGED = "X-Forwarded-For: 6.6.6.6"


@pytest.fixture
def events() -> Iterator[list[str]]:
    lines: list[str] = []
    with observed(lambda event: lines.append(formatEvent(event))):
        yield lines


class Asked(ServerProtocol):
    """Keeps the peer that `onConnect` is told of."""

    asked = ""

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.asked = request.peer


def behind(*trusted: str, protocol: type[ServerProtocol] = Asked, **settings: Any) -> ServerFactory:
    return factory_of(protocol, trust_proxy=trusted or ("10.0.0.0/8",), **settings)


def asks(factory: ServerFactory, *headers: str, address: Any = PROXY) -> Peer:
    return Peer(factory, address).send(head(*headers))


def test_all_that_names_the_peer_names_the_client() -> None:
    peer = asks(behind(), FORGED, "X-Forwarded-For: 203.0.113.9:77, 10.0.0.2")
    server = peer.server
    assert peer.status == 101
    assert server.who == "1 203.0.113.9:77"
    assert server.peer == server.asked == "tcp4:203.0.113.9:77"
    assert server.transport_details.peer == server.peer
    (listed,) = list_of([server], Wanted())["connections"]
    assert listed["peer"] == "203.0.113.9:77"
    assert json.loads(webhook.connect(server, 0.0))["peer"] == "203.0.113.9:77"
    assert webhook.peer_of(server) == "203.0.113.9"


def test_a_credential_is_checked_for_the_clients_address() -> None:
    factory = behind()
    named, stranger = (
        ConnectionInquiry(asks(factory, FORGED, address=address).server)
        for address in (PROXY, STRANGER)
    )
    assert (named.address, stranger.address) == ("6.6.6.6", "192.0.2.1")


def test_without_a_port_there_is_0() -> None:
    server = asks(behind(), 'Forwarded: for="[2001:db8::1]"').server
    assert server.who == "1 [2001:db8::1]:0"
    assert server.peer == "tcp6:2001:db8::1:0"
    assert webhook.peer_of(server) == "2001:db8::/64"


def test_a_strangers_headers_are_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "client_of", None)
    for factory in (behind(), factory_of(Asked)):
        for name in ("X-Forwarded-For", "Forwarded", "X-Forwarded-Proto", "X-Real-IP"):
            server = asks(factory, f"{name}: 10.0.0.1", address=STRANGER).server
            assert server.who.endswith(" 192.0.2.1:5000")
            assert server.asked == "tcp4:192.0.2.1:5000"


@pytest.mark.parametrize(
    ("trusted", "address", "believed"),
    [
        ("10.0.0.0/8", PROXY, True),
        ("10.0.0.0/8", IPv6Address("TCP", "::ffff:10.0.0.1", 1), True),
        ("10.0.0.0/8", IPv4Address("TCP", "plugin's", 1), False),
        ("10.0.0.0/8", UNIXAddress("x"), False),
        ("unix", UNIXAddress("x"), True),
        ("unix", UNIXAddress(None), True),
        ("unix", PROXY, False),
        ("::1", IPv6Address("TCP", "::1", 1), True),
    ],
)
def test_only_trusted_peers_are_believed(trusted: str, address: Any, believed: bool) -> None:
    server = asks(behind(trusted), "X-Forwarded-For: 203.0.113.9", address=address).server
    assert (server.who == "1 203.0.113.9:0") is believed


def test_the_clients_are_limited_and_not_the_proxy(events: list[str]) -> None:
    factory = behind(max_connections_per_ip=1)
    silent = [Peer(factory, PROXY) for _ in range(5)]
    there = [asks(factory, f"X-Forwarded-For: 203.0.113.{each}") for each in (1, 2, 1, 2)]
    assert [each.status for each in there] == [101, 101, 503, 503]
    assert next(line for line in events if "refused" in line).startswith(
        "[8 203.0.113.1:0] refused"
    )
    there[0].leave()
    assert asks(factory, "X-Forwarded-For: 203.0.113.1").status == 101
    # The next ones are direct: they count for their own addresses, and so do names of nobody.
    assert [asks(factory, FORGED, address=STRANGER).status for _ in "ab"] == [101, 503]
    assert [each.send(head()).status for each in silent[:2]] == [101, 503]
    assert [each.send(head("X-Forwarded-For: x")).status for each in silent[2:]] == [503] * 3
    for each in silent:
        each.leave()
    assert asks(factory).status == 101


def test_a_client_that_is_counted_once_leaves_once() -> None:
    factory = behind(max_connections_per_ip=1)
    for _ in range(3):
        peer = asks(factory, "X-Forwarded-For: 203.0.113.1")
        assert peer.status == 101
        peer.leave()
    assert factory.limits._by_address == {}
    assert factory.limits._admitted == 0


def test_too_many_that_wait_for_their_refusal_are_dropped() -> None:
    factory = behind(max_connections_per_ip=1)
    there = [asks(factory, "X-Forwarded-For: 203.0.113.1") for _ in range(300)]
    assert [each.transport.aborted for each in there] == [False] * 257 + [True] * 43
    assert [each.status for each in there[:257]] == [101] + [503] * 256
    assert {each.answer for each in there[257:]} == {b""}


def test_behind_a_proxy_header_its_address_must_be_trusted() -> None:
    factory = behind(listen=("haproxy:tcp:8080",), max_connections_per_ip=1)
    for address, who in [
        (IPv4Address("TCP", "10.9.9.9", 7), "203.0.113.9:0"),
        (STRANGER, "192.0.2.1:5000"),
    ]:
        peer = Peer(factory, IPv4Address("TCP", "127.0.0.1", 1))
        peer.transport.peerAddr = address
        peer.send(head("X-Forwarded-For: 203.0.113.9"))
        assert peer.status == 101
        assert peer.server.who.partition(" ")[2] == who
    assert factory.limits._by_address == {"203.0.113.9": 1, "192.0.2.1": 1}


def test_plain_requests_have_the_clients_address(events: list[str]) -> None:
    asks(behind(), "X-Forwarded-For: 203.0.113.9", "Accept: text/html").leave()
    request = head("X-Forwarded-For: 203.0.113.9", line="GET / HTTP/1.1", Upgrade=None)
    assert Peer(behind(), PROXY).send(request).status == 426
    assert events[-1].startswith("[1 203.0.113.9:0] ")


def test_a_malformed_request_is_its_proxys(events: list[str]) -> None:
    factory = behind(max_connections_per_ip=1)
    peers = [asks(factory, "X-Forwarded-For: 203.0.113.9", "X\x00: y") for _ in range(3)]
    assert [each.status for each in peers] == [400] * 3
    assert events[0].startswith("[1 10.0.0.1:40000] refused with 400")
    for each in peers:
        each.leave()
    assert factory.limits._admitted == 0


def test_the_scheme_decides_what_the_own_origin_is() -> None:
    factory = behind()
    host = "Host: app.example"
    for origin, proto, status in [
        ("https://app.example", "https", 101),
        ("http://app.example", "https", 403),
        ("https://app.example", "http", 403),
        ("http://app.example", "", 101),
    ]:
        headers = [
            f"Origin: {origin}",
            f"X-Forwarded-Proto: {proto}",
            "X-Forwarded-For: 203.0.113.9",
        ]
        answers = [
            Peer(factory, address).send(head(*headers, Host=host.partition(": ")[2])).status
            for address in (PROXY, STRANGER)
        ]
        assert answers == [status, 101]


def test_headers_that_disagree_are_not_believed_and_that_is_said_seldom(events: list[str]) -> None:
    factory = behind()
    for _ in range(3):
        server = asks(factory, "X-Forwarded-For: 203.0.113.9", "Forwarded: for=6.6.6.6").server
        assert server.who.endswith(" 10.0.0.1:40000")
    (line,) = events
    assert line.startswith(
        "--trust-proxy: Forwarded and X-Forwarded-For of a request from 10.0.0.1"
    )
    assert "6.6.6.6" not in line


@pytest.mark.parametrize("level", ["info", "debug"])
def test_malformed_headers_are_told_at_debug(events: list[str], level: str) -> None:
    asks(behind(log_level=level), "X-Forwarded-For: 1.2.3.4, \x1b[31m\x85x".replace("\x1b", "~"))
    said = [line for line in events if "malformed" in line]
    expected = ["[1 10.0.0.1:40000] X-Forwarded-For has a malformed element"]
    assert said == (expected if level == "debug" else [])


def test_other_proxies_may_be_trusted_at_a_reload() -> None:
    factory = factory_of(Asked)
    assert factory.proxies is None
    factory.prepare(Config(trust_proxy=("10.0.0.1",)))()
    assert asks(factory, "X-Forwarded-For: 203.0.113.9").server.who == "1 203.0.113.9:0"
    factory.prepare(Config())()
    assert asks(factory, "X-Forwarded-For: 203.0.113.9").server.who == "2 10.0.0.1:40000"


def test_a_connection_of_nobody_that_is_trusted_has_nothing_more() -> None:
    plain, named = asks(factory_of(), address=STRANGER), asks(behind(protocol=ServerProtocol))
    assert set(plain.server.__dict__) == set(named.server.__dict__)
    assert forwarded.client_of({}, forwarded.TrustedProxies()) == forwarded.Forwarding()
