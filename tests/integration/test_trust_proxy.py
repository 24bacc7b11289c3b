"""`--trust-proxy`: peers that name clients, over TCP, unix sockets, PROXY headers and workers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from .processes import Program, Programs, wait_until
from .test_admin import LOOPBACK, admin_of
from .test_reloading import ANEW, hang_up
from .wire import Wire

# Other addresses of loopback: a client, and a proxy that is not trusted.
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"

BEHAVIOUR = """
import wsservice

class Told(wsservice.ServerProtocol):
    def onConnect(self, request):
        self.asked = request.peer

    def onOpen(self):
        self.sendMessage(f"{self.peer} {self.asked}".encode())
"""


@pytest.fixture
def open_(programs: Programs) -> Iterator[Any]:
    """Return a function that opens a connection, and returns it."""
    with contextlib.ExitStack() as stack:

        def reach(port: int | str, *headers: str, source: str = "", before: bytes = b"") -> Wire:
            wire = Wire(port, source=source)
            stack.callback(wire.end)
            return wire.upgrade(before, "".join(f"{each}\r\n" for each in headers))

        yield reach


def serve(programs: Programs, *options: str) -> Program:
    (programs.folder / "told.py").write_text(BEHAVIOUR)
    return programs.twistd(
        *("--listen", "tcp:0:interface=127.0.0.1", "--protocol", "told.Told", *options)
    )


def test_a_stranger_is_itself_whatever_it_says(programs: Programs, open_: Any) -> None:
    server = serve(programs, "--trust-proxy", TRUSTED)
    for header in ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9"):
        stranger = open_(server.port, header, source=STRANGER)
        port = stranger.socket.getsockname()[1]
        assert stranger.receive() == f"tcp4:{STRANGER}:{port} tcp4:{STRANGER}:{port}"
        named = open_(server.port, header)
        assert named.receive() == "tcp4:203.0.113.9:0 tcp4:203.0.113.9:0"


def test_a_unix_socket_is_trusted_by_its_word(programs: Programs, open_: Any) -> None:
    path = programs.folder / "ws.sock"
    server = serve(programs, "--listen", f"unix:{path}", "--trust-proxy", "unix")
    server.log.wait_for("starting on ", 2)
    header = 'Forwarded: for="[2001:db8::7]:4711";proto=https'
    named = open_(str(path), header, "Origin: https://localhost")
    assert named.receive() == "tcp6:2001:db8::7:4711 tcp6:2001:db8::7:4711"
    named.send("by a socket")
    server.log.wait_for(" [2001:db8::7]:4711] Message received: by a socket")
    assert open_(str(path), header, "Origin: http://localhost").status == 403
    assert open_(server.port, header).receive().startswith("tcp4:127.0.0.1:")


def test_the_address_in_a_proxy_header_must_be_trusted(programs: Programs, open_: Any) -> None:
    listen = ("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    server = programs.twistd(*listen, "--trust-proxy", "192.0.2.0/24", "--log-level", "debug")
    for proxy, who in (("192.0.2.1", "203.0.113.9:0"), ("198.51.100.1", "198.51.100.1:5000")):
        before = f"PROXY TCP4 {proxy} 127.0.0.1 5000 80\r\n".encode()
        client = open_(server.port, "X-Forwarded-For: 203.0.113.9", before=before)
        assert client.receive() == "Hello from server"
        server.log.wait_for(f" {who}] open, at /websockets")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_clients_are_limited_and_their_proxy_is_not(
    programs: Programs, open_: Any, workers: str
) -> None:
    server = serve(
        programs,
        *("--trust-proxy", TRUSTED, "--max-connections-per-ip", "1", "--workers", workers),
        *("--admin", LOOPBACK),
    )
    server.log.wait_for("starting on ", 2)
    admin = admin_of(server)
    # More than one for each worker, so that one of them has to say no.
    count = int(workers)
    there = [open_(server.port, "X-Forwarded-For: 203.0.113.9") for _ in range(2 * count + 1)]
    statuses = [each.status for each in there]
    assert set(statuses) == {101, 503}
    assert statuses.count(101) <= count
    # The proxy itself is not counted, and other clients have their own count.
    others = [open_(server.port, f"X-Forwarded-For: 203.0.113.{each}") for each in range(10, 20)]
    assert [each.status for each in others] == [101] * 10
    strangers = [open_(server.port, source=STRANGER).status for _ in range(3)]
    assert strangers == [101, 503, 503]
    shown: Any = json.loads(admin.ask("/connections").body)["connections"]
    peers = {each["peer"] for each in shown if each["state"] == "open"}
    assert {f"203.0.113.{each}:0" for each in range(10, 20)} <= peers
    assert "Traceback" not in server.log.text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reload_changes_who_is_trusted(programs: Programs, open_: Any, workers: str) -> None:
    (programs.folder / "ws.toml").write_text("")
    server = serve(programs, "--config", "ws.toml", "--workers", workers)
    header = "X-Forwarded-For: 203.0.113.9"
    assert open_(server.port, header).receive().startswith("tcp4:127.0.0.1:")
    (programs.folder / "ws.toml").write_text('trust_proxy = ["::1", "127.0.0.1"]\n')
    assert hang_up(server) == f"info {ANEW}changed: trust_proxy"

    def is_named() -> bool:
        told: str = open_(server.port, header).receive()
        return told.startswith("tcp4:203.0.113.9:0 ")

    wait_until(is_named, "all workers to know")
    (programs.folder / "ws.toml").write_text('trust_proxy = ["10.0.0.1/8"]\n')
    assert "trust_proxy: '10.0.0.1/8' is not allowed; give unix, an IP" in hang_up(server)
    assert is_named()


def test_what_is_no_network_is_one_line_and_status_1(programs: Programs) -> None:
    server = programs.twistd("--port", "0", "--trust-proxy", "a.example")
    assert server.wait() == 1
    expected = (
        "--trust-proxy: 'a.example' is not allowed; give unix, an IP address, or a network whose"
        " last bits are 0, such as 10.0.0.0/8"
    )
    assert expected in server.stderr.text


def test_headers_that_disagree_are_reported_and_malformed_ones_at_debug(
    programs: Programs, open_: Any
) -> None:
    server = serve(programs, "--trust-proxy", TRUSTED, "--log-level", "debug")
    for _ in range(3):
        open_(server.port, "X-Forwarded-For: 203.0.113.9", "Forwarded: for=6.6.6.6")
    open_(server.port, "X-Forwarded-For: \x85'; DROP TABLE")
    server.log.wait_for("] X-Forwarded-For has a malformed element\n")
    assert server.log.text.count("name different clients, so neither is believed") == 1
    assert "DROP" not in server.log.text
