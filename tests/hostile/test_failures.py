"""A behaviour that fails, and a machine without descriptors: nobody else is harmed.

These measure for themselves: what is logged has tracebacks, or the server's limit is
set before it starts.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time

from ..integration.processes import BIN, Programs
from ..integration.wire import CLOSE, TEXT, Closed, Wire
from .beside import ROOT
from .harness import alone, slack
from .processes import Process
from .styles import REQUEST


@alone(
    "a behaviour raises, or its Deferred or coroutine fails, in each callback, with secrets",
    "500 with an empty body, or 1011 with no reason; logged once, counts right",
)
def test_a_behaviour_that_fails_costs_that_connection_only(programs: Programs, full: bool) -> str:
    # Room for a single connection, so that each must be counted rightly.
    server = programs.twistd(
        *("--port", "0", "--protocol", "tests.hostile.misbehaviours.Failing"),
        *("--max-connections", "1"),
        environment={"PYTHONPATH": str(ROOT)},
    )
    failures = 0
    for how in ("raises", "deferred", "coroutine"):
        for where in ("connect", "open", "message", "close"):
            wire = _admitted(server.port, f"/{where}/{how}")
            try:
                _fail(wire, where)
            finally:
                wire.end()
            failures += 1
            server.log.wait_for("Traceback", failures)
            server.log.wait_for(f"{where} {how}: a secret\\r\\nSet-Cookie: evil=1")
    assert server.log.text.count("Traceback") == failures
    assert "Unhandled" not in server.log.text
    assert not server.stderr.text
    return f"500 or 1011, {failures} ways, each logged once"


def _fail(wire: Wire, where: str) -> None:
    if where == "connect":
        assert wire.head.startswith("HTTP/1.1 500 Internal Server Error\r\n")
        assert "Content-Length: 0" in wire.head
        assert "secret" not in wire.head
        assert wire.rest() == b""
        return
    if where == "message":
        wire.send_frame(TEXT, b"x")
    if where == "close":
        wire.send_frame(CLOSE, struct.pack("!H", 1000))
        assert wire.receive() == Closed(1000, "")
    else:
        assert wire.receive() == Closed(1011, "")
        wire.socket.shutdown(socket.SHUT_WR)
    assert wire.rest() == b""


def _admitted(port: int, path: str) -> Wire:
    """A connection that found room, once the one before does not count any more."""
    deadline = time.monotonic() + 5
    while True:
        wire = Wire(port, path=path).upgrade()
        if wire.status != 503:
            return wire
        wire.end()
        assert time.monotonic() < deadline, "no room: an ended connection still counts"
        time.sleep(0.01)


@alone(
    "more connections than there are descriptors (`ulimit -n 64`)",
    "no spin while full (CPU 20 %), whole again within 1 s after",
)
def test_a_want_of_descriptors_is_no_spin_and_soon_over(programs: Programs, full: bool) -> str:
    server = programs.start(
        *("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"),
        *(BIN / "twistd", "-n", "wsdemo", "--port", "0"),
    )
    port = server.port
    neighbour = Wire(port).upgrade()
    neighbour.receive()
    peers = []
    for _ in range(200):
        # One that finds no room may be gone before it has said anything.
        with contextlib.suppress(ConnectionError):
            peers.append(socket.create_connection(("127.0.0.1", port), 5))
            peers[-1].sendall(REQUEST)
    server.log.wait_for("dropped: there are too many connections, and too many that wait")
    time.sleep(0.5)
    process = Process(server.process.pid)
    before, began = process.cpu(), time.monotonic()
    octets = len(server.log.text)
    time.sleep(1)
    spent = (process.cpu() - before) / (time.monotonic() - began)
    assert spent < 0.2
    assert len(server.log.text) == octets
    neighbour.close()
    for peer in peers:
        peer.close()
    began = time.monotonic()
    while time.monotonic() - began < slack(full):
        wire = Wire(port)
        try:
            assert wire.upgrade().status == 101
            again = time.monotonic() - began
            break
        except (AssertionError, ConnectionError):
            time.sleep(0.05)
        finally:
            wire.end()
    else:
        raise AssertionError(f"nobody is served {slack(full):g} s after")
    assert "Traceback" not in server.log.text
    # A line for each that found no room, and little besides.
    assert len(server.log.text) < 200 * 200
    neighbour.end()
    return f"CPU {100 * spent:.0f} % while full, served again after {again:.2f} s"
