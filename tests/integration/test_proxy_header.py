"""PROXY headers as HAProxy and nginx send them, and what is none, to a service that runs."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ..needs import need_ipv6
from ..unit.net.test_proxy_header import LEGAL, WRONG
from . import gateways
from .processes import Program, Programs, free_port, wait_until
from .test_admin import LOOPBACK, Asking, admin_of
from .test_listening_places import make_certificate
from .wire import Wire

_HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen all
    bind {front}
    server one 127.0.0.1:{behind} {send}
"""
_NGINX = """
stream {{
    server {{
        listen {front};
        proxy_pass 127.0.0.1:{behind};
        proxy_protocol on;
    }}
}}
"""


def _haproxy(send: str) -> Callable[[Programs, str, int], Program]:
    def start(programs: Programs, front: str, behind: int) -> Program:
        # HAProxy takes an IPv6 address without brackets, and a path as it is.
        bind = front.replace("unix:", "").replace("[", "").replace("]", "")
        return gateways.haproxy(programs, _HAPROXY.format(front=bind, behind=behind, send=send))

    return start


def _nginx(programs: Programs, front: str, behind: int) -> Program:
    return gateways.nginx(programs, stream=_NGINX.format(front=front, behind=behind))


SENDERS = {
    "haproxy v1": _haproxy("send-proxy"),
    "haproxy v2": _haproxy("send-proxy-v2"),
    "haproxy v2 with TLVs": _haproxy("send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    "nginx": _nginx,
}


class Fronted:
    """A service whose connections begin with a header, over TLS if that is asked for."""

    def __init__(self, programs: Programs, tls: bool, *options: str) -> None:
        self.programs = programs
        self.key, self.certificate = make_certificate(programs.folder)
        self.tls = tls
        inner = "tcp:0"
        if tls:
            inner = f"ssl:0:privateKey={self.key}:certKey={self.certificate}"
        self.server = programs.twistd(
            *("--listen", f"haproxy:{inner}:interface=127.0.0.1", "--admin", LOOPBACK, *options)
        )
        self.port = self.server.port
        self.admin: Asking = admin_of(self.server)

    def open(self, front: int | str, host: str = "127.0.0.1", before: bytes = b"") -> Wire:
        """An open connection."""
        client = Wire(front, host)
        client.socket.sendall(before)
        if self.tls:
            context = ssl.create_default_context(cafile=str(self.certificate))
            client.secure(context, "localhost")
        client.upgrade()
        assert client.status == 101
        assert client.receive() == "Hello from server"
        return client

    def peer_of(self, client: Wire, text: str) -> str:
        """Return the peer's name in the log."""
        client.send(text)
        self.server.log.wait_for(f"] Message received: {text}\n")
        (line,) = self.server.log.ending(f"] Message received: {text}")
        return line.rpartition("] ")[0].rpartition(" ")[2]

    @property
    def refused(self) -> float:
        return self.admin.value("wsservice_refusals_total", reason="no PROXY header")


def drops(port: int, octets: bytes) -> bool:
    """Return True if a connection that begins with some octets ends without an answer."""
    client = Wire(port)
    try:
        client.socket.sendall(octets)
        return client.at_end()
    finally:
        client.end()


def listens(gateway: Program, where: int | str, host: str) -> bool:
    """Return True if a gateway listens on a port or path, or has ended."""
    if gateway.process.poll() is not None:
        return True
    if isinstance(where, int):
        family, address = (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, where)
    else:
        family, address = socket.AF_UNIX, where  # type: ignore[assignment]
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("sender", SENDERS)
def test_the_peer_is_known_behind_a_real_gateway(
    programs: Programs, sender: str, tls: bool
) -> None:
    need_ipv6()
    fronted = Fronted(programs, tls)
    port, path = free_port(), programs.folder / "front.sock"
    fronts = [f"127.0.0.1:{port}", f"[::1]:{port}", f"unix:{path}"]
    # One after another: each has the same files.
    for front in fronts:
        gateway = SENDERS[sender](programs, front, fronted.port)
        where: int | str = os.path.relpath(path) if front.startswith("unix:") else port
        host = "::1" if "[" in front else "127.0.0.1"
        wait_until(
            partial(listens, gateway, where, host),
            "the gateway to listen",
        )
        assert gateway.process.poll() is None, gateway.stderr.text
        client = fronted.open(where, host)
        peer = fronted.peer_of(client, f"by {front}")
        if isinstance(where, str):
            # HAProxy and nginx know no address of a client at a unix socket (UNKNOWN, UNSPEC),
            # so it has the gateway's address.
            assert peer.startswith("127.0.0.1:")
        else:
            own = client.socket.getsockname()
            assert peer == (f"[::1]:{own[1]}" if ":" in host else f"127.0.0.1:{own[1]}")
        assert client.close().code == 1000
        client.end()
        gateway.end()
    assert "Traceback" not in fronted.server.log.text
    assert fronted.refused == 0


def test_each_header_in_front_of_what_the_client_sends(programs: Programs, tls: bool) -> None:
    fronted = Fronted(programs, tls)
    for number, (octets, header) in enumerate(LEGAL):
        client = fronted.open(fronted.port, before=octets)
        peer = fronted.peer_of(client, f"message {number}.")
        if header.is_unix:
            assert peer == "unix"
        elif header.source is None:
            assert peer == f"127.0.0.1:{client.socket.getsockname()[1]}"
        else:
            host, port = header.source
            assert peer == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        client.end()
    assert fronted.refused == 0


def test_what_has_none_is_one_line_of_the_log(programs: Programs, tls: bool) -> None:
    fronted = Fronted(programs, tls)
    for octets, _ in WRONG:
        assert drops(fronted.port, octets)
    assert fronted.refused == len(WRONG)
    log = fronted.server.log.text
    assert log.count("dropped a connection from 127.0.0.1:") <= 3
    assert "it has no PROXY header; the gateway must send one, as send-proxy does (1 so far)" in log
    assert "Traceback" not in log
    assert "critical" not in log
    assert all(line.isprintable() for line in fronted.server.log.lines)
    fronted.open(fronted.port, before=LEGAL[0][0]).end()


def test_a_peer_that_sends_no_whole_header_does_not_stay(programs: Programs, tls: bool) -> None:
    fronted = Fronted(programs, tls, "--handshake-timeout", "0.3", "--close-timeout", "0.3")
    for octets in (b"", LEGAL[0][0][:-1], LEGAL[-1][0][:-1]):
        assert drops(fronted.port, octets)
    assert "Traceback" not in fronted.server.log.text
    assert fronted.admin.value("wsservice_refusals_total", reason="timed out") == 3


def test_a_check_that_connects_and_goes_is_no_refusal(programs: Programs, tls: bool) -> None:
    fronted = Fronted(programs, tls)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", fronted.port)) as check:
            # As HAProxy's `check` without `send-proxy`, which resets.
            check.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(
        lambda: fronted.admin.value("wsservice_connections_accepted_total") == 3, "the checks"
    )
    wait_until(
        lambda: fronted.admin.value("wsservice_connections_not_open") == 0, "the checks to end"
    )
    assert fronted.refused == 0
    assert "dropped" not in fronted.server.log.text


def test_workers_read_it_too(programs: Programs, tls: bool) -> None:
    fronted = Fronted(programs, tls, "--workers", "2")
    assert drops(fronted.port, b"GET / HTTP/1.1\r\n")
    client = fronted.open(fronted.port, before=b"PROXY TCP6 2001:db8::7 ::1 5007 80\r\n")
    assert fronted.peer_of(client, "hello") == "[2001:db8::7]:5007"
    client.end()
    wait_until(lambda: fronted.refused == 1, "the workers' figures")
    assert "it has no PROXY header" in fronted.server.log.text


def test_a_gateway_in_front_of_the_admin_face(programs: Programs) -> None:
    token = Path(programs.folder / "token")
    token.touch(0o600)
    token.write_text("secret")
    server = programs.twistd(
        *("--port", "0", "--admin", "haproxy:tcp:0:interface=127.0.0.1"),
        *("--admin-token-file", str(token)),
    )
    server.log.wait_for("AdminFactory (PROXY) starting on ")
    port = int(server.log.text.partition("AdminFactory (PROXY) starting on ")[2].split()[0])
    asking = Asking(port, "secret")
    request = asking.request("/connections")
    header = b"PROXY TCP4 192.0.2.7 127.0.0.1 5007 80\r\n"
    assert asking.raw(header + request).startswith(b"HTTP/1.1 200 ")
    assert asking.raw(request) == b""
    server.log.wait_for("--admin haproxy:tcp:0:interface=127.0.0.1: dropped a connection from")
