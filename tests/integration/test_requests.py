"""Requests of real peers and gateways, on sockets: accepted, refused, and how they end."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest

from ..codecs import BUILT
from .conftest import Connect
from .processes import PATIENCE, Program, Programs, can_connect, wait_until
from .test_listening_places import make_certificate
from .wire import Wire

MIB = 1024 * 1024


Secure = Callable[[socket.socket], ssl.SSLSocket]


@contextlib.contextmanager
def connected(port: int, secure: Secure | None) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        yield peer if secure is None else stack.enter_context(secure(peer))


def exchange(port: int, octets: bytes, secure: Secure | None = None) -> bytes:
    """All that is answered to some octets."""
    with connected(port, secure) as peer:
        peer.sendall(octets)
        said = b""
        with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
            while more := peer.recv(65536):
                said += more
        return said


def status(answer: bytes) -> int:
    return int(answer.split()[1])


HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CHECK = b"GET /health HTTP/1.0\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=[*product(BUILT, [1, 2])], ids=lambda each: f"{each[0]}, {each[1]}")
def server(request: pytest.FixtureRequest, programs: Programs) -> Program:
    codec, workers = request.param
    return programs.twistd(
        *("--port", "0", "--workers", str(workers), "--health-path", "/health"),
        *("--admin", "tcp:0:interface=127.0.0.1", "--drain", "30"),
        environment={"WSSERVICE_NATIVE": "1" if codec == "native" else "0"},
    )


def ports(server: Program) -> tuple[int, int]:
    """The public one, and the admin face's."""
    one, other = server.log.wait_for_ports(2)
    public = [each for each in (one, other) if status(exchange(each, CHECK)) in (200, 503)]
    (admin,) = {one, other} - set(public)
    return public[0], admin


def test_what_peers_and_gateways_send_is_answered_as_it_should_be(
    server: Program, connect: Connect
) -> None:
    public, admin = ports(server)
    wait_until(lambda: status(exchange(public, CHECK)) == 200, "the service to be ready")
    for headers in ("Cookie: name=\xc3\x85se", "Remote-Name: w\xc4\x85\xc5\xbc", "X: \x85"):
        wire = Wire(public)
        wire.socket.sendall(HANDSHAKE[:-2] + headers.encode("latin-1") + b"\r\n\r\n")
        assert wire._head().startswith("HTTP/1.1 101 ")
        wire.end()
    for target, host in ((b"http://localhost/chat", b"localhost:"), (b"WSS://a?b", b"a:443")):
        wire = Wire(public)
        asked = HANDSHAKE.replace(b"/chat", target).replace(b"Host: localhost", b"Host: " + host)
        wire.socket.sendall(asked)
        assert wire._head().startswith("HTTP/1.1 101 ")
        wire.end()
    for more in (b"Sec-WebSocket-Protocol: \r\nConnection: keep-alive\r\n",):
        wire = Wire(public)
        wire.socket.sendall(HANDSHAKE[:-2] + more + b"\r\n")
        head = wire._head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "Protocol:" not in head
        wire.end()
    old = exchange(public, HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert status(old) == 505
    assert b"nginx: proxy_http_version 1.1" in old
    server.log.wait_for("nginx: proxy_http_version 1.1")
    origin = exchange(public, HANDSHAKE[:-2] + b"Origin: http://app.example:3000\r\n\r\n")
    assert status(origin) == 403
    for text in (b'"http://app.example:3000" at "localhost"', b"--allow-origin http://app."):
        assert text in origin
        server.log.wait_for(text.decode())
    for method, body in (("GET", b'{"ready":true,"reasons":[]}\n'), ("HEAD", b"")):
        for rest in ("HTTP/1.0\r\n", "HTTP/1.1\r\nHost: cluster_name\r\nConnection: close\r\n"):
            answer = exchange(admin, f"{method} /readyz {rest}\r\n".encode())
            assert status(answer) == 200
            assert answer.partition(b"\r\n\r\n")[2] == body
    url = b"GET http://127.0.0.1:%d/healthz HTTP/1.1\r\nConnection: close\r\n" % admin
    assert status(exchange(admin, url + b"Host: 127.0.0.1:%d\r\n\r\n" % admin)) == 200
    assert status(exchange(admin, url + b"Host: localhost\r\n\r\n")) == 400
    page = b"GET / HTTP/1.1\r\nHost: cluster_name\r\nConnection: close\r\n\r\n"
    assert status(exchange(admin, page)) == 421
    for _ in range(10):
        assert exchange(public, CHECK).endswith(b'\r\n\r\n{"ready":true}\n')
        assert exchange(public, CHECK.replace(b"GET", b"HEAD")).endswith(b"\r\n\r\n")
    # No check is a refusal, nor a line of the log.
    metrics = exchange(admin, METRICS)
    assert b'wsservice_refusals_total{reason="no WebSocket"} 0.0\n' in metrics
    channel = connect(public, path="/health")
    assert channel.receive() == "Hello from server"
    server.signal(signal.SIGTERM)
    assert channel.receive_close().code == 1001
    # It drains, for as long as one does not answer: checks are told, and handshakes refused.
    for _ in range(5):
        assert status(exchange(public, CHECK)) == 503
        assert status(exchange(public, HANDSHAKE)) == 503
        ready = exchange(admin, b"GET /readyz HTTP/1.0\r\n\r\n")
        assert json.loads(ready.partition(b"\r\n\r\n")[2])["reasons"] == ["draining"]
    # One that came before its worker knew was told so as a connection.
    wait_until(lambda: exchange(public, CHECK).endswith(b'{"ready":false}\n'), "that answer")
    channel.send_close(1001)
    assert server.wait() == 0
    assert not can_connect(public)
    for word in ("Traceback", "health check", "refused with 426"):
        assert word not in server.log.text


@pytest.fixture(params=["TCP", "TLS"])
def guarded(request: pytest.FixtureRequest, programs: Programs) -> tuple[int, int, Any, Program]:
    """A service that has TLS, or not: its ports, how to speak on them, and it."""
    key, certificate = make_certificate(programs.folder)
    tls: tuple[Any, ...] = ("--tls-cert", certificate, "--tls-key", key)
    admin = "tcp:0:interface=127.0.0.1"
    secure: Secure | None = None
    if request.param == "TLS":
        admin = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        context = ssl.create_default_context(cafile=str(certificate))
        secure = partial(context.wrap_socket, server_hostname="localhost")
    server = programs.twistd(
        *("--port", "0", "--health-path", "/health", "--admin", admin),
        *("--close-timeout", "30"),
        *(() if secure is None else tls),
    )
    one, other = server.log.wait_for_ports(2)
    public, face = one, other
    if status(exchange(public, CHECK, secure)) != 200:
        public, face = other, one
    return public, face, secure, server


def flood(port: int, octets: bytes, secure: Secure | None) -> tuple[float, int]:
    """Ask, and go on sending until the connection is over: for how long, and how much."""
    sent, began, block = 0, time.monotonic(), b"a: b\r\n" * 10_000
    with connected(port, secure) as peer, contextlib.suppress(OSError):
        peer.sendall(octets)
        while sent < 512 * MIB:
            peer.sendall(block)
            sent += len(block)
    return time.monotonic() - began, sent


@pytest.mark.parametrize(
    "asked",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
        b"GET /" + b"x" * 10_000,
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 536870912\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
    ids=["431", "414", "PUT", "GET"],
)
@pytest.mark.parametrize("face", ["public", "admin"])
def test_who_goes_on_after_the_answer_is_not_read_for_long(
    guarded: tuple[int, int, Any, Program], asked: bytes, face: str
) -> None:
    public, admin, secure, server = guarded
    seconds, sent = flood(public if face == "public" else admin, asked, secure)
    # Long before --close-timeout. The octets sent lie in the kernel's buffers, which are large.
    assert seconds < 20
    assert sent < 64 * MIB
    wait_until(lambda: received(admin, secure) < MIB, "the figures")
    assert "Traceback" not in server.log.text


def received(admin: int, secure: Secure | None) -> float:
    """Return the number of octets that the service has read on its public port."""
    text = exchange(admin, METRICS, secure).decode()
    name = 'wsservice_octets_total{direction="received"} '
    (line,) = (line for line in text.splitlines() if line.startswith(name))
    return float(line.removeprefix(name))
