"""The wall clock is set while programs run: what they wait for comes in time all the same."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import Connect
from .faketime import WallClock
from .faketime import wall_clock as wall_clock
from .processes import Program, Programs, wait_until
from .redis import Redises
from .test_client_library import Place
from .test_client_library import place as place
from .test_inbox import Watched
from .wire import PING, PONG, Closed, Wire

HOUR = 3600
WAYS = pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["back", "forward"])
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])

LEEWAY = 0.2
"""Seconds that may pass here before those of a program begin to count."""


class Service(Watched):
    """A service whose wall clock is set."""

    def __init__(
        self, programs: Programs, clock: WallClock, *options: str | Path, reactor: str = ""
    ) -> None:
        self._clock = clock
        how = {"reactor": reactor, "environment": clock.environment}
        super().__init__(programs, *options, **how)

    def connections(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.ask("/connections")[1])["connections"]
        return listed

    def set_clock(self, ahead: int) -> None:
        """Set the clock, and have the reactors look at it, which may have been asleep."""
        self._clock.set(ahead)
        self.connections()


def next_ping(wire: Wire) -> bytes:
    opcode, payload = wire._frame()
    while opcode != PING:
        opcode, payload = wire._frame()
    return payload


@WAYS
@pytest.mark.parametrize(
    ("workers", "reactor"),
    [("1", ""), ("1", "select"), ("1", "poll"), ("1", "asyncio"), ("2", ""), ("2", "asyncio")],
)
def test_pings_go_on_and_a_dead_peer_is_dropped(
    programs: Programs,
    wall_clock: WallClock,
    connect: Connect,
    ahead: int,
    workers: str,
    reactor: str,
) -> None:
    timers = ("--ping-interval", "0.3", "--ping-timeout", "1", "--close-timeout", "1")
    service = Service(programs, wall_clock, "--workers", workers, *timers, reactor=reactor)
    wire = connect(service.port)
    wire.send_frame(PONG, next_ping(wire))
    service.set_clock(ahead)
    for _ in range(3):
        wire.send_frame(PONG, next_ping(wire))
    next_ping(wire)
    assert wire.receive_close().code == 1011
    assert wire.at_end()


@WAYS
@WORKERS
def test_a_handshake_has_its_time(
    programs: Programs, wall_clock: WallClock, ahead: int, workers: str
) -> None:
    options = ("--workers", workers, "--handshake-timeout", "3")
    service = Service(programs, wall_clock, *options)
    began = time.monotonic()
    wire = Wire(service.port)
    wire.socket.sendall(b"GET / HTTP/1.1\r\n")
    wait_until(service.connections, "that it is there")
    service.set_clock(ahead)
    assert wire.at_end()
    assert time.monotonic() - began >= 3
    wire.end()


@WAYS
@WORKERS
def test_a_drain_has_its_time_and_ends(
    programs: Programs, wall_clock: WallClock, connect: Connect, ahead: int, workers: str
) -> None:
    service = Service(programs, wall_clock, "--workers", workers, "--drain", "3")
    wire = connect(service.port)
    service.program.signal(signal.SIGTERM)
    assert wire.receive_close() == Closed(1001, "")
    told = time.monotonic()
    service.set_clock(ahead)
    assert service.program.wait() == 0
    assert time.monotonic() - told >= 3 - LEEWAY


@WAYS
@WORKERS
def test_a_link_to_redis_is_made_again(
    programs: Programs, wall_clock: WallClock, redises: Redises, ahead: int, workers: str
) -> None:
    server = redises.start()
    service = Service(programs, wall_clock, "--broker", server.url, "--workers", workers)
    server.kill()
    wait_until(lambda: service.ready()[0] == 503, "that Redis is missed")
    service.set_clock(ahead)
    server.start()
    service.until_ready()


@WAYS
def test_a_worker_that_died_is_replaced(
    programs: Programs, wall_clock: WallClock, connect: Connect, ahead: int
) -> None:
    service = Service(programs, wall_clock, "--workers", "2")
    log = service.program.log
    log.wait_for(": started", 2)
    for each in re.findall(r"\(pid (\d+)\): started", log.text):
        os.kill(int(each), signal.SIGKILL)
    # Then they wait, since they died soon after their start.
    log.wait_for("was ended by SIGKILL", 2)
    wall_clock.set(ahead)
    log.wait_for(": started", 4)
    wire = connect(service.port)
    wire.send("x")
    assert wire.receive() == "x"


@WAYS
def test_what_is_told_is_told_by_the_wall_clock(
    programs: Programs, wall_clock: WallClock, connect: Connect, ahead: int
) -> None:
    logs = ("--message-log", "messages", "--message-log-format", "json")
    service = Service(programs, wall_clock, "--protocol", "greeting", *logs)
    service.set_clock(ahead)
    wire = connect(service.port)
    wire.send("x")
    lines = programs.folder / "messages"
    wait_until(lambda: lines.read_text().endswith("\n"), "the line of a message")
    (listed,) = service.connections()
    for told in (json.loads(lines.read_text())["time"], listed["since"]):
        off = datetime.fromisoformat(told) - datetime.now(UTC)
        assert abs(off.total_seconds() - ahead) < 60


# The client


def errors(client: Program) -> str:
    return client.stderr.text


@WAYS
def test_the_client_connects_again(
    programs: Programs, wall_clock: WallClock, place: Place, ahead: int
) -> None:
    client = programs.client(
        place.url, "--reconnect", stdin=subprocess.PIPE, environment=wall_clock.environment
    )
    place.next().accept()
    place.end()
    client.stderr.wait_for("trying again in ")
    wall_clock.set(ahead)
    place.listen()
    host = place.next().accept()
    client.stderr.wait_for("connected again\n")
    assert client.process.stdin is not None
    client.process.stdin.close()
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0


@WAYS
def test_the_client_notices_that_nobody_answers(
    programs: Programs, wall_clock: WallClock, place: Place, ahead: int
) -> None:
    client = programs.client(
        *(place.url, "--ping-interval", "0.3", "--ping-timeout", "1"),
        stdin=subprocess.PIPE,
        environment=wall_clock.environment,
    )
    host = place.next().accept()
    _, payload = host._frame()
    host.send_frame(PONG, payload)
    wall_clock.set(ahead)
    assert host._frame()[0] == PING
    assert client.wait() == 6, errors(client)
    assert client.process.stdin is not None
    client.process.stdin.close()


@WAYS
def test_the_clients_timeouts_are_as_long_as_was_said(
    programs: Programs, wall_clock: WallClock, place: Place, ahead: int
) -> None:
    began = time.monotonic()
    client = programs.client(
        *(place.url, "--timeout", "5"), stdin=subprocess.PIPE, environment=wall_clock.environment
    )
    place.next()  # which is never answered
    wall_clock.set(ahead)
    assert client.wait() == 7, errors(client)
    assert time.monotonic() - began >= 5
    assert client.process.stdin is not None
    client.process.stdin.close()
