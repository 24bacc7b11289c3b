"""With few files that may be open: refused politely before they run out, and served again after."""

from __future__ import annotations

import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import BIN, Program, Programs, wait_until
from .wire import Wire

LIMIT = 120

BEHAVIOUR = """
import os
import wsservice

class Hoarder(wsservice.ServerProtocol):
    hoard = []

    def onMessage(self, payload, isBinary):
        if payload == b"take":
            try:
                while True:
                    self.hoard.append(os.dup(0))
            except OSError:
                pass
        else:
            while self.hoard:
                os.close(self.hoard.pop())
        self.sendMessage(b"done")
"""


def limited(programs: Programs, how: str, *options: str) -> Program:
    """`twistd -n wsdemo` where `ulimit` has limited the files that may be open."""
    command = f'ulimit {how} {LIMIT} && exec "$@"'
    twistd = [str(BIN / "twistd"), "-n", "wsdemo", "--port", "0", *options]
    return programs.start("sh", "-c", command, "sh", *twistd)


def soft_limit(server: Program) -> int:
    return resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]


def room(server: Program) -> int:
    """For how many connections it says it has room."""
    server.log.wait_for(" connections\n")
    (count,) = re.findall(r"#info\] up to (\d+) connections\n", server.log.text)
    return int(count)


@contextmanager
def full(server: Program) -> Iterator[list[Wire]]:
    """As many connections as it has room for."""
    wires: list[Wire] = []
    try:
        for _ in range(room(server)):
            wires.append(Wire(server.port))
            assert wires[-1].upgrade().status == 101
        yield wires
    finally:
        for wire in wires:
            wire.end()


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def answer(port: int) -> bytes:
    """Return the answer, empty if the connection is dropped without one."""
    try:
        with closing(socket.create_connection(("127.0.0.1", port), 20)) as peer:
            peer.sendall(REQUEST)
            return peer.recv(4096)
    except ConnectionError:
        return b""


@contextmanager
def knocking(port: int) -> Iterator[None]:
    """Connected, as far as the server lets it, without a word."""
    with socket.socket() as peer:
        peer.settimeout(20)
        with suppress(ConnectionError):
            peer.connect(("127.0.0.1", port))
        yield


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def test_the_soft_limit_is_raised_to_the_hard_one(programs: Programs) -> None:
    server = limited(programs, "-S -n")
    assert room(server) > 0
    assert soft_limit(server) == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_more_than_fit_are_refused_politely_and_served_again_once_others_left(
    programs: Programs,
) -> None:
    server = limited(programs, "-n", "--protocol", "echo")
    server.log.wait_for(f"10000 does not fit: at most {LIMIT} files may be open")
    with full(server) as wires, ExitStack() as silent:
        for _ in range(3):
            refusal = answer(server.port)
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 10\r\n" in refusal
        # Not told, since too many are: none of them takes the last descriptor.
        for _ in range(200):
            silent.enter_context(knocking(server.port))
        wait_until(lambda: server.log.text.count("] dropped: there are too many") > 100, "some")
        for wire in wires:
            wire.send("still served")
            assert wire.receive() == "still served"
        silent.close()
        wires.pop().end()
        wait_until(lambda: b" 101 " in answer(server.port), "room for another")
    wait_until(lambda: b" 101 " in answer(server.port), "room for others")
    assert "Traceback" not in server.log.text
    assert "EMFILE" not in server.log.text
    assert "cannot accept" not in server.log.text
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def cpu(server: Program) -> float:
    """Seconds of CPU time so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_where_a_behaviour_took_all_the_rest_waits_without_work_and_is_served_later(
    programs: Programs, connect: Connect
) -> None:
    (programs.folder / "hoarder.py").write_text(BEHAVIOUR)
    server = limited(programs, "-n", "--protocol", "hoarder.Hoarder")
    control = connect(server.port)
    control.send("take")
    assert control.receive() == "done"
    with closing(Wire(server.port).socket) as waiting:
        waiting.sendall(REQUEST)
        server.log.wait_for("cannot accept connections, Too many open files; they wait until it")
        lines, before = len(server.log.lines), cpu(server)
        time.sleep(1.5)
        assert cpu(server) - before < 0.3
        assert len(server.log.lines) == lines
        control.send("give")
        assert control.receive() == "done"
        assert waiting.recv(4096).startswith(b"HTTP/1.1 101 ")
    server.log.wait_for("connections are accepted again")
    assert "Traceback" not in server.log.text
    assert "EMFILE" not in server.log.text
