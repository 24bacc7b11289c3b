"""opening.py: every opening handshake gets one answer, the right one, and one line in the log."""

from __future__ import annotations

import contextlib
import http
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from wsservice.channels.hub import LocalHub
from wsservice.config.config import Config
from wsservice.http.request import MAX_HEAD
from wsservice.log.journal import open_journal
from wsservice.server import page
from wsservice.server.behaviours import EchoServerProtocol, ServerFactory, ServerProtocol

from ...support import Logged, Served
from ..http.test_request import HEADERS, KEY, SOME_OCTETS, head

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def unregisterProducer(self) -> None:
        """As TCP's: there need be none."""
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As TCP's."""


class Peer:
    """A client's end of a connection to a server in memory."""

    def __init__(self, factory: ServerFactory, address: Any = None) -> None:
        self.transport = Transport(peerAddress=address or IPv4Address("TCP", "192.0.2.1", 5000))
        server: Any = factory.buildProtocol(None)
        self.server = server
        self.server.makeConnection(self.transport)

    def send(self, octets: bytes) -> Peer:
        # Until the end of the connection, as a reactor does.
        if not self.transport.aborted:
            self.server.dataReceived(octets)
        return self

    def trickle(self, octets: bytes) -> Peer:
        for start in range(len(octets)):
            self.send(octets[start : start + 1])
        return self

    def leave(self) -> None:
        self.server.connectionLost(Failure(ConnectionDone()))

    @property
    def answer(self) -> bytes:
        answer: bytes = self.transport.value()
        return answer

    @property
    def status(self) -> int:
        return int(self.answer.split()[1])

    @property
    def over(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.aborted)


def factory_of(
    protocol: type[ServerProtocol] = EchoServerProtocol, **settings: Any
) -> ServerFactory:
    config = Config(**settings)
    clock = Clock()
    return ServerFactory(config, protocol, open_journal(config, clock), LocalHub(), clock)


@contextlib.contextmanager
def observed(observer: Any) -> Iterator[None]:
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)


@pytest.fixture
def events() -> Iterator[list[str]]:
    lines: list[str] = []
    with observed(lambda event: lines.append(formatEvent(event))):
        yield lines


class Refused:
    """A refusal on the wire: equals octets that are one answer with one line of text."""

    def __init__(self, status_line: str, *headers: str, head_only: bool = False) -> None:
        self._head_only = head_only
        self._lines = [
            *(f"HTTP/1.1 {status_line}", "Connection: close", "Content-Length"),
            *("Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff"),
            *headers,
        ]

    def __eq__(self, octets: object) -> bool:
        if not isinstance(octets, bytes):
            return self is octets
        head, _, body = octets.decode("ascii").partition("\r\n\r\n")
        lines = head.split("\r\n")
        name, _, length = lines[2].partition(": ")
        # One line, of what is wrong and what to do about it.
        told = body == "" if self._head_only else bool(re.fullmatch("[ -~]+; [ -~]+\n", body))
        right = int(length) > 0 if self._head_only else int(length) == len(body)
        return [*lines[:2], name, *lines[3:]] == self._lines and told and right

    def __hash__(self) -> int:
        return hash(self._lines[0])

    def __repr__(self) -> str:
        return repr(self._lines)


def nothing(status_line: str) -> bytes:
    return f"HTTP/1.1 {status_line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


UPGRADES = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
BAD = Refused("400 Bad Request")
TOO_LARGE = Refused("431 Request Header Fields Too Large")
METHOD = Refused("405 Method Not Allowed", "Allow: GET, HEAD")
UNKNOWN_METHOD = Refused("501 Not Implemented")
HTTP_VERSION = Refused("505 HTTP Version Not Supported")
TOO_LONG = Refused(f"414 {http.HTTPStatus(414).phrase}")  # another one from Python 3.13 on
UPGRADE = Refused("426 Upgrade Required", *UPGRADES)
UPGRADE_HEAD = Refused("426 Upgrade Required", *UPGRADES, head_only=True)
FORBIDDEN = Refused("403 Forbidden")
NO_ROOM = Refused("503 Service Unavailable", "Retry-After: 10")

ROWS: dict[str, tuple[bytes, Refused | bytes]] = {
    "over 16 KiB": (head("X: " + "y" * MAX_HEAD), TOO_LARGE),
    "without end": (b"GET / HTTP/1.1\r\nX: " + b"y" * 10 * MAX_HEAD, TOO_LARGE),
    "101 headers": (head(*["X: y"] * 96), TOO_LARGE),
    "300,000 headers": (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 300_000, TOO_LARGE),
    **{
        f"octet {octet!r}": (head(f"X: a{octet}b"), BAD)
        for octet in "\x00\x0b\x0c\r\n\x1b\x1c\x1d\x1e\x7f"
    },
    "folded": (head("X: a\r\n b"), BAD),
    "space before the colon": (head("X : a"), BAD),
    "two Host": (head("Host: example.com"), BAD),
    "two keys": (head(f"Sec-WebSocket-Key: {KEY}"), BAD),
    "two Origin": (head("Origin: http://a", "Origin: http://a"), BAD),
    "two versions": (head("Sec-WebSocket-Version: 13"), BAD),
    "no Host": (head(Host=None), BAD),
    "bad Host": (head(Host="a@b"), BAD),
    "POST": (head(line="POST / HTTP/1.1"), METHOD),
    "OPTIONS": (head(line="OPTIONS * HTTP/1.1"), METHOD),
    "get": (head(line="get / HTTP/1.1"), UNKNOWN_METHOD),
    "HEAD": (head(line="HEAD / HTTP/1.1"), UPGRADE_HEAD),
    "CONNECT": (head(line="CONNECT a:80 HTTP/1.1"), METHOD),
    "HTTP/0.9": (b"GET /\r\n", BAD),
    "HTTP/1.0": (head(line="GET / HTTP/1.0"), HTTP_VERSION),
    "HTTP/1.2": (head(line="GET / HTTP/1.2"), HTTP_VERSION),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_VERSION),
    "absolute, of another port": (head(line="GET http://example.com/ HTTP/1.1"), BAD),
    "absolute, of another host": (head(line="GET http://evil.example:8080/ HTTP/1.1"), BAD),
    "oversized": (head(line=f"GET /{'a' * 8192} HTTP/1.1"), TOO_LONG),
    "a channel of 256 octets": (head(line=f"GET /{'a' * 256} HTTP/1.1"), TOO_LONG),
    "256 octets, decoded": (head(line=f"GET /{'%C3%A9' * 128} HTTP/1.1"), TOO_LONG),
    "86 octets thrice, as they came": (head(line=f"GET /{'%0A' * 86} HTTP/1.1"), TOO_LONG),
    "fragment": (head(line="GET /#a HTTP/1.1"), BAD),
    "a body": (head("Content-Length: 2") + b"hi", BAD),
    "Content-Length": (head("Content-Length: 2"), BAD),
    "Transfer-Encoding": (head("Transfer-Encoding: chunked"), BAD),
    "pipelined": (head() + head(), BAD),
    "a frame too soon": (head() + b"\x81\x80\0\0\0\0", BAD),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
    "no HTTP": (b"\x80\x2e\x01", BAD),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", BAD),
    "no version": (head(Sec_WebSocket_Version=None), UPGRADE),
    "version 8": (head(Sec_WebSocket_Version="8"), UPGRADE),
    "no key": (head(Sec_WebSocket_Key=None), BAD),
    "bad key": (head(Sec_WebSocket_Key="a" * 24), BAD),
    "no Upgrade": (head(Upgrade=None), UPGRADE),
    "Upgrade to h2c": (head(Upgrade="h2c"), UPGRADE),
    "plain HTTP": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", UPGRADE),
    "no Connection": (head(Connection=None), BAD),
    "Connection: close": (head(Connection="close"), BAD),
    "subprotocol twice": (head("Sec-WebSocket-Protocol: a, a"), BAD),
    "bad subprotocol": (head("Sec-WebSocket-Protocol: a b"), BAD),
    "Origin elsewhere": (head("Origin: http://evil.example"), FORBIDDEN),
    "Origin null": (head("Origin: null"), FORBIDDEN),
    "Origin empty": (head("Origin:"), FORBIDDEN),
    "Origin file": (head("Origin: file://"), FORBIDDEN),
}


@pytest.mark.parametrize(("request_", "answer"), ROWS.values(), ids=ROWS)
def test_refused(request_: bytes, answer: Refused | bytes, events: list[str]) -> None:
    factory = factory_of()
    peer = Peer(factory).send(request_).send(b"more").send(head())
    assert peer.answer == answer
    assert peer.over
    peer.leave()
    assert len(factory.hub) == 0
    [line] = events
    what = "refused with" if answer else "dropped:"
    assert line.startswith(f"[1 192.0.2.1:5000] {what} ")
    assert line.isprintable()
    assert len(line) < 600


@pytest.mark.parametrize(("request_", "answer"), ROWS.values(), ids=ROWS)
def test_refused_octet_by_octet(request_: bytes, answer: Refused | bytes) -> None:
    end = request_.find(b"\r\n\r\n")
    peer = Peer(factory_of())
    if end > 0 and end + 4 < len(request_) and answer == BAD and b"Length" not in request_:
        peer.send(request_)  # whether something came too soon depends on when it came
    else:
        peer.trickle(request_[: 2 * MAX_HEAD])
    assert peer.answer == answer


RIGHT = {
    "plain": head(),
    "lower case": head()
    .lower()
    .replace(KEY.lower().encode(), KEY.encode())
    .replace(b"get /chat http", b"GET /chat HTTP"),
    "upper case": head().upper().replace(KEY.upper().encode(), KEY.encode()),
    "no space": head().replace(b": ", b":"),
    "much space": head().replace(b": ", b": \t \t ").replace(b"Upgrade\r", b"Upgrade \t\r"),
    "other order": "\r\n".join(
        ["GET / HTTP/1.1", *[f"{n}: {v}" for n, v in reversed(HEADERS)], "", ""]
    ).encode(),
    "tokens in lists": head(Connection="keep-alive, Upgrade", Upgrade="h2c,WebSocket"),
    "repeated lists": head("Connection: upgrade", "Upgrade: h2c", Connection="keep-alive"),
    "repeated extensions": head("Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b; c=d"),
    "repeated subprotocols": head("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b, c"),
    "two slashes": head(line="GET //[ HTTP/1.1"),
    "origin": head("Origin: http://EXAMPLE.com:8080"),
    "Latin-1": head("X: \xa0\xe9\xa0"),
    "absolute": head(line="GET http://example.com:8080/chat HTTP/1.1"),
    "an empty list of subprotocols": head("Sec-WebSocket-Protocol: "),
    "octets beyond ASCII": head("X: \x80\x85\x9f\xff", "Cookie: name=\xc3\x85se"),
    "no length": head("Content-Length: 0"),
    "a channel of 255 octets": head(line=f"GET /{'a' * 255}/ HTTP/1.1"),
    "254 octets, decoded": head(line=f"GET /{'%C3%A9' * 127}?token={'x' * 1000} HTTP/1.1"),
}


@pytest.mark.parametrize("way", [Peer.send, Peer.trickle])
@pytest.mark.parametrize("request_", RIGHT.values(), ids=RIGHT)
def test_accepted(way: Callable[[Peer, bytes], Peer], request_: bytes) -> None:
    peer = Peer(factory_of())
    way(peer, request_)
    answer = peer.answer
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n".encode() in answer
    assert answer.count(b"\r\n\r\n") == 1
    peer.send(b"\x81\x82\0\0\0\0hi")
    assert peer.answer == answer + b"\x81\x02hi"


class Asking(EchoServerProtocol):
    """Keeps what it is asked, and decides when it is told to."""

    asked: ConnectionRequest
    decision: Deferred[Any] | None = None

    def onConnect(self, request: ConnectionRequest) -> Any:
        type(self).asked = request
        self.decision = Deferred() if request.path == "/later" else None
        return self.decision


def test_what_onConnect_is_given() -> None:
    peer = Peer(factory_of(Asking)).send(
        head(
            "X: \xa0a\xa0",
            "X: b",
            "Origin: http://example.com:8080",
            "Sec-WebSocket-Protocol: p,,q",
            line="GET //a;b?c=d&c=e HTTP/1.1",
        )
    )
    asked = type(peer.server).asked
    assert asked.path == "//a;b"
    assert asked.params == {"c": ["d", "e"]}
    assert asked.headers["x"] == "\xa0a\xa0, b"
    assert asked.headers == peer.server.http_headers
    assert asked.host == "example.com"
    assert asked.origin == "http://example.com:8080"
    assert asked.protocols == ["p", "q"]
    assert peer.server.channel == "a;b"


class Greeter(ServerProtocol):
    """Leaves `onConnect` as it is."""


def test_onConnect_is_asked_that_was_replaced_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = factory_of(Greeter)
    asked: list[ConnectionRequest] = []
    first, second = Peer(factory), Peer(factory)
    first.server.onConnect = asked.append
    assert (first.send(head()).status, len(asked)) == (101, 1)
    monkeypatch.setattr(Greeter, "onConnect", lambda _, request: asked.append(request))
    assert (second.send(head()).status, len(asked)) == (101, 2)
    assert asked[1].path == second.server.http_request_path


def test_what_comes_while_onConnect_decides_is_no_second_request() -> None:
    peer = Peer(factory_of(Asking)).send(head(line="GET /later HTTP/1.1"))
    peer.send(head()).send(b"x")
    assert peer.answer == b""
    peer.server.decision.callback(None)
    assert peer.answer.count(b"HTTP/1.1") == 1
    assert peer.answer.startswith(b"HTTP/1.1 101 ")
    frames = peer.answer.partition(b"\r\n\r\n")[2]
    assert frames.startswith(b"\x88")
    assert frames[2:4] == (1002).to_bytes(2, "big")


def test_nor_is_it_one_when_onConnect_fails(events: list[str]) -> None:
    peer = Peer(factory_of(Asking)).send(head(line="GET /later HTTP/1.1")).send(head())
    peer.server.decision.errback(RuntimeError("\r\nX: secret"))
    peer.send(head())
    assert peer.answer == nothing("500 Internal Server Error")


def test_the_log_has_the_peers_text_cut_and_escaped(events: list[str]) -> None:
    Peer(factory_of()).send(head("Origin: \x9b\x85\xad\\" + "x" * 8000))
    [line] = events
    assert line.isprintable()
    assert "\\x9b\\x85\\xad\\\\xxx" in line
    assert len(line) < 400


def test_allowed_origins() -> None:
    factory = factory_of(allow_origin=("https://app.example",))
    for origin, status in [
        ("https://app.example", 101),
        ("HTTPS://APP.EXAMPLE:443", 101),
        ("https://app.example.evil.com", 403),
        ("http://example.com:8080", 101),
    ]:
        assert Peer(factory).send(head(f"Origin: {origin}")).status == status
    anyone = factory_of(allow_origin=("*",))
    for origin in [
        *("null", "file://", "http://a.example", "app://x", "http://[::1]:1", "x://a:99"),
        *("", "a.example:8080", "http://a.example/", "\x85"),
    ]:
        assert Peer(anyone).send(head(f"Origin: {origin}")).status == 101


# The words of a refusal to the peer, and to the operator


@pytest.mark.parametrize(
    ("request_", "problem", "cure"),
    [
        (head(line=f"GET /{'a' * 9000} HTTP/1.1"), "more than 8207 octets", "shorten the path"),
        (head("X: " + "y" * MAX_HEAD), "more than 16384 octets", "shorter headers"),
        (head(*["X: y"] * 96), "more than 100 headers", "fewer headers"),
        (head("X : y"), "malformed", "no space before the colon"),
        (head().replace(b"\r\n", b"\n"), "does not end in CR LF", "CR LF"),
        (head(Host=None), "no Host header", "send Host: NAME"),
        (head(Host="a b"), "Host header is malformed", "send Host: NAME"),
        (head("Host: example.com:8080"), "more than one host header", "send one"),
        (head(line="GET http://evil.example/ HTTP/1.1"), "another host", "in both"),
        (head(line="GET ftp://example.com:8080/ HTTP/1.1"), "neither a path", "such as /chat"),
        (head(line="GET http://me@example.com:8080/ HTTP/1.1"), "user information", "Authoriz"),
        (head(line="GET /#a HTTP/1.1"), "fragment", "leave out #"),
        (head(line="POST / HTTP/1.1"), "the method is not allowed", "use GET"),
        (head(line="BREW / HTTP/1.1"), "the method is unknown", "use GET"),
        (head(line="GET / HTTP/1.2"), "HTTP/1.2 is not spoken here", "use HTTP/1.1"),
        (head(line="GET / HTTP/1.0"), "by HTTP/1.0", "nginx: proxy_http_version 1.1"),
        (head(line="GET / HTTP/1.0", Upgrade=None, Connection="close"), "1.0", "proxy_http_ver"),
        (head(Upgrade=None), "no Upgrade header", "proxy_set_header Upgrade $http_upgrade"),
        (head(Connection="close"), "does not name Upgrade", "proxy_set_header Connection"),
        (head(Sec_WebSocket_Version="8"), "no WebSocket version", "Sec-WebSocket-Version: 13"),
        (head(Sec_WebSocket_Key=None), "Sec-WebSocket-Key is missing", "16 random octets"),
        (head("Sec-WebSocket-Protocol: a b"), "Sec-WebSocket-Protocol", "commas"),
        (head("Content-Length: 1"), "has a body", "send none"),
        (head() + b"x", "before its answer", "wait for the answer"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "no PROXY header", "--listen haproxy:"),
        (b"\r\n\r\n\0\r\nQUIT\n", "0x0d", "--listen haproxy:"),
        (b"\x80", "0x80", "WebSocket client"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "speaks WebSocket", "connect with ws://"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(
    request_: bytes, problem: str, cure: str, events: list[str]
) -> None:
    body = Peer(factory_of()).send(request_).answer.decode().partition("\r\n\r\n")[2]
    [line] = events
    assert problem in body.partition("; ")[0]
    assert cure in body.partition("; ")[2]
    assert problem in line
    assert cure in line
    assert "evil" not in body
    assert len(body) < 300


def test_a_long_name_is_counted_and_shown_to_nobody(events: list[str]) -> None:
    factory = factory_of()
    peer = Peer(factory).send(head(line=f"GET /{'secret' * 100} HTTP/1.1"))
    assert peer.answer.endswith(
        b"\r\n\r\nthe path names a channel of more than 255 octets; shorten the path\n"
    )
    assert factory.counts.refusals["bad request"] == 1
    assert "secret" not in "".join(events)
    assert peer.server.channel == ""


class Renaming(EchoServerProtocol):
    """Puts itself on a channel of its own."""

    name = ""

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.channel = self.name


@pytest.mark.parametrize(("size", "status"), [(255, 101), (256, 500)])
def test_a_behaviours_own_channel_has_the_same_bound(
    monkeypatch: pytest.MonkeyPatch, size: int, status: int, events: list[str]
) -> None:
    monkeypatch.setattr(Renaming, "name", "n" * size)
    factory = factory_of(Renaming)
    peer = Peer(factory).send(head())
    assert peer.status == status
    assert factory.hub.sizes().open == (status == 101)


def test_a_TLS_client_is_logged_with_what_to_do(events: list[str]) -> None:
    assert Peer(factory_of()).send(b"\x16\x03").answer == b""
    assert "--tls-cert" in events[0]


def test_plain_HTTP_is_logged_with_the_option_for_health_checks(events: list[str]) -> None:
    Peer(factory_of()).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert "--health-path" in events[0]


@pytest.mark.parametrize(
    ("origin", "host", "both", "pattern"),
    [
        (
            "http://app.example:3000",
            "example.com:8080",
            '"http://app.example:3000" at "example.com:8080"',
            "http://app.example:3000",
        ),
        ("https://APP.example:443", "b", '"https://APP.example:443" at "b"', "https://app.example"),
        ("null", "b:1", '"null" at "b:1"', "'*'"),
        ("http://a/?token=s3cr3t", "b:1", '"http://a/..." at "b:1"', "'*'"),
        ("\x85\x1c".replace("\x1c", "<"), "b:1", '"\\x85<" at "b:1"', "'*'"),
    ],
)
def test_a_refused_origin_is_told_both_hosts_and_the_option(
    origin: str, host: str, both: str, pattern: str, events: list[str]
) -> None:
    peer = Peer(factory_of()).send(head(f"Origin: {origin}", Host=host))
    assert peer.answer == FORBIDDEN
    for text in (peer.answer.decode(), events[0]):
        assert both in text
        assert f"--allow-origin {pattern}," in text
        assert "s3cr3t" not in text


# Plain HTTP, and health checks


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET /x HTTP/1.0\r\nHost:a\r\n\r\n"]
)
def test_plain_HTTP_1_0_is_answered_as_1_1(request_: bytes) -> None:
    assert Peer(factory_of()).send(request_).answer == UPGRADE


def test_HTTP_1_0_gets_the_page() -> None:
    peer = Peer(factory_of()).send(b"GET / HTTP/1.0\r\nAccept: text/html\r\n\r\n")
    assert peer.answer.endswith(page.load(page.PUBLIC).body)


HEALTHY = b'{"ready":true}\n'
CHECKS = [
    b"GET /health HTTP/1.0\r\n\r\n",
    b"GET /health?a HTTP/1.1\r\nHost: cluster_name\r\nConnection: close\r\n\r\n",
    b"GET http://10.0.0.1:8080/health HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n",
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_health_check_is_answered_and_is_no_refusal(check: bytes, events: list[str]) -> None:
    factory = factory_of(health_path="/health")
    peer = Peer(factory).send(check)
    assert (peer.status, peer.answer.partition(b"\r\n\r\n")[2]) == (200, HEALTHY)
    first = Peer(factory).send(check.replace(b"GET", b"HEAD", 1))
    assert first.answer + HEALTHY == peer.answer
    factory.is_ready = lambda: False
    peer = Peer(factory).send(check)
    assert (peer.status, peer.answer.partition(b"\r\n\r\n")[2]) == (503, b'{"ready":false}\n')
    assert events == []
    assert not any(factory.counts.refusals.values())


def test_an_upgrade_at_the_path_of_health_checks_is_a_channel() -> None:
    peer = Peer(factory_of(health_path="/health")).send(head(line="GET /health HTTP/1.1"))
    assert peer.status == 101
    assert peer.server.channel == "health"


@pytest.mark.parametrize("path", ["/Health", "/health/", "/", "//health", "/healt%68", "/healthz"])
def test_no_other_path_is_that_of_health_checks(path: str) -> None:
    asked = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert Peer(factory_of(health_path="/health")).send(asked).answer == UPGRADE
    assert Peer(factory_of()).send(asked).answer == UPGRADE


def test_a_check_is_a_connection_as_others_are() -> None:
    factory = factory_of(health_path="/health", max_connections=1)
    peers = [Peer(factory) for _ in range(2)]
    for peer in peers:
        peer.send(CHECKS[0])
    assert [peer.status for peer in peers] == [200, 503]


def test_who_comes_while_the_service_stops_is_told_so() -> None:
    factory = factory_of(health_path="/health")
    factory.is_stopping = True
    assert Peer(factory).send(head()).answer == NO_ROOM
    assert factory.counts.refusals["stopping"] == 1


def test_a_stopping_service_answers_once() -> None:
    peer = Peer(factory_of()).send(b"GET / HT")
    peer.server.go_away()
    peer.send(b"TP/1.1\r\nbad\r\n\r\n").send(head())
    assert peer.answer == NO_ROOM
    assert peer.server.data == b""


def test_an_error_of_our_own_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsservice.http.request.RequestReader.feed", lambda *_: 1 / 0)
    failures: list[Any] = []
    with observed(failures.append):
        peer = Peer(factory_of()).send(head())
    assert peer.answer == nothing("500 Internal Server Error")
    assert isinstance(failures[0]["log_failure"].value, ZeroDivisionError)


# Limits


def test_more_than_max_connections() -> None:
    factory = factory_of(max_connections=2)
    first, second, third = (Peer(factory) for _ in range(3))
    assert third.send(head()).answer == NO_ROOM
    assert second.send(head()).status == 101
    first.leave()
    assert Peer(factory).send(head()).status == 101
    assert Peer(factory).send(b"bad\r\n").answer == BAD


def test_refusing_costs_no_descriptors(events: list[str]) -> None:
    factory = factory_of(max_connections=1)
    peers = [Peer(factory) for _ in range(300)]
    assert [peer.transport.aborted for peer in peers] == [False] * 257 + [True] * 43
    assert all(peer.answer == b"" for peer in peers)
    assert len(events) == 43
    for peer in peers:
        peer.leave()
    assert len(factory.hub) == 0
    assert Peer(factory).send(head()).status == 101
    assert Peer(factory).send(head()).status == 503


def test_plain_HTTP_is_refused_where_there_is_no_room() -> None:
    factory = factory_of(max_connections=1)
    peers = [Peer(factory) for _ in range(2)]
    for peer in peers:
        peer.send(head(Upgrade=None))
    assert [peer.status for peer in peers] == [426, 503]


def test_the_page(events: list[str]) -> None:
    asked = head("Accept: text/html", line="GET / HTTP/1.1", Upgrade=None)
    whole, first = (Peer(factory_of(send_buffer=1)) for _ in range(2))
    whole.send(asked)
    first.send(asked.replace(b"GET", b"HEAD"))
    body = page.load(page.PUBLIC).body
    assert whole.answer == first.answer + body
    assert whole.answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in first.answer
    assert whole.over
    assert events == ["[1 192.0.2.1:5000] gets the page"] * 2


def test_no_page() -> None:
    asked = head("Accept: text/html", line="GET / HTTP/1.1", Upgrade=None)
    assert Peer(factory_of(no_page=True)).send(asked).answer == UPGRADE


def test_more_than_max_connections_per_ip() -> None:
    factory = factory_of(max_connections_per_ip=1)
    for address, statuses in [
        (IPv4Address("TCP", "192.0.2.1", 1), [101, 503]),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), [503]),
        (IPv4Address("TCP", "192.0.2.2", 1), [101, 503]),
        (IPv6Address("TCP", "2001:db8::1", 1), [101]),
        (IPv6Address("TCP", "2001:db8::2", 1), [503]),
        (IPv6Address("TCP", "2001:db8:0:1::1", 1), [101]),
        (UNIXAddress("x"), [101, 101]),
    ]:
        assert [Peer(factory, address).send(head()).status for _ in statuses] == statuses


def test_behind_a_balancer_the_real_peer_is_counted(events: list[str]) -> None:
    factory = factory_of(max_connections_per_ip=1, listen=("haproxy:tcp:8080",))
    balancer = IPv4Address("TCP", "127.0.0.1", 1)
    peers = [Peer(factory, balancer) for _ in range(3)]
    for peer, host in zip(peers, ["192.0.2.1", "192.0.2.2", "192.0.2.1"], strict=True):
        peer.transport.peerAddr = IPv4Address("TCP", host, 7)
        peer.send(head())
    assert [peer.status for peer in peers] == [101, 101, 503]
    [line] = events
    assert line.startswith("[3 192.0.2.1:7] refused with 503")
    assert peers[0].server.peer == "tcp4:192.0.2.1:7"


def test_behind_a_balancer_too_many_are_dropped() -> None:
    factory = factory_of(max_connections_per_ip=1, listen=("haproxy:tcp:8080",))
    peers = [Peer(factory) for _ in range(300)]
    for peer in peers:
        peer.send(head())
    assert [peer.transport.aborted for peer in peers] == [False] * 257 + [True] * 43
    assert [peer.status for peer in peers[:257]] == [101] + [503] * 256


@pytest.mark.parametrize("name", ["onConnect", "onOpen", "onMessage", "onClose"])
def test_the_count_holds_whatever_raises(name: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(name)

    factory = factory_of(type("Failing", (ServerProtocol,), {name: fail}), max_connections=1)
    for _ in range(3):
        peer = Peer(factory).send(head())
        assert peer.status == (500 if name == "onConnect" else 101)
        peer.send(b"\x81\x82\0\0\0\0hi")
        peer.leave()
    assert len(factory.hub) == 0


def test_the_reader_is_let_go_of() -> None:
    peer = Peer(factory_of()).send(head())
    assert peer.server._handshake is None
    peer = Peer(factory_of()).trickle(head())
    assert peer.server._handshake is None


# Properties


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    octets = draw(st.sampled_from([*RIGHT.values(), b""]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(octets)))
        octets = octets[:start] + draw(SOME_OCTETS) + octets[start:]
    return octets


@given(nearly_right())
def test_one_answer_and_nothing_of_autobahns(octets: bytes) -> None:
    events: list[Any] = []
    with observed(events.append):
        peer = Peer(factory_of()).send(octets).send(b"\r\n\r\n")
        peer.leave()
    assert not [event for event in events if "log_failure" in event]
    assert peer.answer.count(b"HTTP/1.1 ") <= 1
    if peer.answer and peer.status != 101:
        pattern = rb"HTTP/1\.1 \d{3} [\w -]+\r\nConnection: close\r\nContent-Length: \d+\r\n[^\0]*"
        assert re.fullmatch(pattern, peer.answer)
        [line] = map(formatEvent, events)
        assert line.startswith("[1 192.0.2.1:5000] refused with ")


class Telling(ServerProtocol):
    """Says what it was asked with in what it raises."""

    def onConnect(self, request: ConnectionRequest) -> None:
        if request.path == "/deny":
            raise ConnectionDeny(403, f"not with {request.params}")
        if request.path == "/raise":
            raise ValueError(request.headers["cookie"])

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        raise ValueError(self.http_headers["cookie"], self.http_request_uri)


@pytest.mark.parametrize("path", ["/deny", "/raise", "/message"])
def test_what_a_client_asks_with_is_masked_in_what_is_logged(path: str, logged: Logged) -> None:
    client = Served(Telling).connect()
    answer = client.ask(f"{path}?token=s3cr3t", "Cookie: session=s3cr3t")
    client.text("x")
    assert "s3cr3t" not in logged.text
    assert "********" in logged.text
    assert (b"s3cr3t" in answer) is (path == "/deny")  # what it says to the client is its own
