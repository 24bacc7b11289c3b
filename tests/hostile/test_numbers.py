"""Attacks in numbers: what others feel does not grow with how many attack.

Each attack is made by 1, 50 and 200 connections from up to 50 addresses, on one process,
on one with workers, and over TLS. `make test` runs some of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .attackers import Attacker, Fate
from .beside import ROOT
from .channels import NEIGHBOUR
from .harness import LINE, MIB, Attack, Row, rows
from .processes import Stopwatch
from .rooms import ROOMY

NUMBERS = (1, 50, 200)
WAYS = {"one process": "", "workers": ", `--workers 2`", "TLS": ", over TLS"}

MEDIAN, WORST = 0.050, 0.150
"""Seconds of the server's CPU time that pass during a neighbour's round trip."""

HEALTH = 0.100
"""The same for an answer of `/healthz`."""

HANDSHAKE = 1.0
"""The same for a new connection's handshake."""

_LIMIT = 2
"""Seconds of each time limit of an attacked server that is to drop somebody."""

_UNASKED = ("--ping-interval", "0")
"""Floods answer no pings, and are not ended for that."""

_ROOM = 48
"""MiB for all messages that are unfinished or wait to be sent."""

_LAST_TURN = 0.060
"""Seconds of a turn: what a connection said before its end is read at one go, within 50 ms."""

_LIMITS = (
    *("--handshake-timeout", f"{_LIMIT}", "--close-timeout", f"{_LIMIT}"),
    *("--ping-interval", f"{_LIMIT}", "--ping-timeout", f"{_LIMIT}"),
    *("--message-timeout", f"{_LIMIT}s", "--memory-for-messages", f"{_ROOM}MiB"),
)


@dataclass(frozen=True)
class Plan:
    """An attack to be made in numbers; `attack` is its name in `attackers`.

    `memory` is the memory that it may take, in MiB, plus `each` for each connection.
    If the server must end each connection, it does so within `within` seconds and with one of
    `codes`, "nothing" for an end without an answer.
    """

    name: str
    attack: str
    memory: float = 16
    each: float = 0.25
    turn: float = _LAST_TURN
    options: tuple[str, ...] = _UNASKED
    behaviour: str = "Echo"
    within: float = 0
    codes: tuple[str, ...] = ()


PLANS = (
    Plan("flood of one-octet messages", "messages"),
    Plan("flood of one-octet messages, each burst within its slice", "bursts"),
    Plan("flood of messages in two fragments", "fragments"),
    Plan("flood of pings", "pings"),
    Plan("flood of pongs", "pongs"),
    Plan(
        "flood of compressed text that inflates to the limit",
        "inflating",
        options=(*_UNASKED, "--compression", "on"),
    ),
    Plan("flood of messages that are published", "published", behaviour="Publishing"),
    Plan(
        "flood of connections, each closed and made anew",
        "coming and going",
        # TLS handshakes of 200 take seconds on a busy machine, and none is to be lost.
        options=("--handshake-timeout", "60"),
        codes=("1000",),
    ),
    Plan("connects and says nothing", "silent", options=_LIMITS, within=_LIMIT, codes=("nothing",)),
    Plan(
        "trickles its request, or its TLS hello",
        "trickling",
        options=_LIMITS,
        within=_LIMIT,
        codes=("nothing",),
    ),
    Plan(
        "a message one octet short",
        "unfinished",
        options=_LIMITS,
        memory=3 * _ROOM,
        # Told, and dropped when it does not answer.
        within=2 * _LIMIT,
        codes=("1008",),
    ),
    Plan(
        "closes, and keeps TCP open",
        "lingering",
        options=_LIMITS,
        within=_LIMIT,
        codes=("1000",),
    ),
    Plan(
        "never reads the echo of what it sends",
        "deaf",
        options=_LIMITS,
        memory=3 * _ROOM,
        # Its octets are a sign of life until its windows are full.
        within=5 * _LIMIT,
        codes=("nothing",),
    ),
    Plan(
        "asks for the page and does not read it",
        "page",
        options=_LIMITS,
        within=_LIMIT,
        codes=("nothing",),
    ),
)

SHORT = {
    ("messages", 200, "one process"),
    ("messages", 200, "workers"),
    ("bursts", 200, "one process"),
    ("pings", 50, "TLS"),
    ("published", 50, "workers"),
    ("coming and going", 50, "TLS"),
    ("trickling", 200, "workers"),
    ("unfinished", 200, "one process"),
}
"""Those that `make test` runs."""


class _Attackers:
    """A process of many that attack."""

    def __init__(self, attack: Attack, kind: str, count: int, tls: bool) -> None:
        command = [sys.executable, "-m", "tests.hostile.attackers"]
        command += [str(attack.tls_port if tls else attack.port), str(count), kind]
        if tls:
            command.append(str(attack.certificate))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Wait until all attack."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "attacking\n"

    def end(self) -> Fate:
        """Have them end, and return what became of them."""
        said, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, "the attack ended by itself"
        return Fate(**json.loads(said))

    def kill(self) -> None:
        """End them if they still run."""
        self._process.kill()
        self._process.communicate()


class _Clock:
    """How long things took, in the server's CPU time."""

    def __init__(self, *stages: list[int]) -> None:
        self._watch = Stopwatch(*stages)
        self.took: list[float] = []

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time a block."""
        self._watch.start()
        yield
        self.took.append(self._watch.seconds())

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.took)

    @property
    def worst(self) -> float:
        """Seconds."""
        return max(self.took)

    def __str__(self) -> str:
        return f"{1000 * self.median:.1f} ms CPU, at worst {1000 * self.worst:.1f}"


def _health(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as asking:
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asking.recv(4096).startswith(b"HTTP/1.1 200 ")


@dataclass(frozen=True)
class _Cell:
    """An attack by a number of connections on a server of one way."""

    plan: Plan
    count: int
    way: str

    def __call__(self, attack: Attack) -> str:
        tls = self.way == "TLS"
        attackers = _Attackers(attack, self.plan.attack, self.count, tls)
        try:
            attackers.wait()
            attack.connections += self.count
            self._measure(attack, tls)
            fate = attackers.end()
        finally:
            attackers.kill()
        attack.connections += fate.ended
        return self._told(attack, fate)

    def _measure(self, attack: Attack, tls: bool) -> None:
        """Look how others are served meanwhile."""
        seconds = (4.0 if attack.full else 2.0) + self.plan.within
        port = attack.tls_port if tls else attack.port
        admin = attack.server.log.wait_for_ports(3 + tls)[-1]
        process = attack.process
        trips, health = _Clock(process.serving), _Clock(process.stages[0])
        handshakes = _Clock(*process.stages)
        neighbour = attack.connect(f"/{NEIGHBOUR}", tls=tls)
        context = attack.context() if tls else None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or len(trips.took) < 40:
            with trips.timed():
                neighbour.send("a word")
                assert neighbour.receive() == "a word"
            if len(trips.took) % 10 == 0:
                with health.timed():
                    _health(admin)
                attack.connections += 2
                with handshakes.timed():
                    Attacker(port, len(trips.took), context).open().close()
            time.sleep(0.005)
        attack.notes["round trip"] = str(trips)
        attack.notes["`/healthz`"] = str(health)
        attack.notes["handshake"] = str(handshakes)
        assert trips.median <= MEDIAN, attack.notes
        assert trips.worst <= WORST, attack.notes
        assert health.worst <= HEALTH, attack.notes
        assert handshakes.worst <= HANDSHAKE, attack.notes

    def _told(self, attack: Attack, fate: Fate) -> str:
        """Return what became of the attackers, which must be as the plan has it."""
        plan = self.plan
        if not plan.codes:
            return "served in turn"
        assert set(fate.codes) <= {*plan.codes}, fate
        if not plan.within:
            return f"served in turn, {fate.ended} times"
        assert fate.least > 0, fate
        # Beside that each needs time of its own to see its end, on a machine that is shared.
        assert fate.longest < plan.within + 1 + 2 * attack.slack, fate
        attack.notes["dropped after"] = f"{fate.longest:.1f} s at most"
        said = ", ".join(sorted(fate.codes))
        return f"dropped {fate.ended} times, told {said}"


def _row(plan: Plan, count: int, way: str) -> Row:
    by = "1 connection" if count == 1 else f"{count} connections"
    memory = plan.memory + plan.each * count
    return Row(
        f"{plan.name}, by {by}{WAYS[way]}",
        f"memory + {memory:g} MiB" + (f", over within {plan.within:g} s" if plan.within else ""),
        _Cell(plan, count, way),
        "test_numbers",
        options=("--admin", "tcp:0:interface=127.0.0.1", *ROOMY, *plan.options),
        behaviour=plan.behaviour,
        memory=int(memory * MIB),
        log=3 * LINE,
        tls=way == "TLS",
        turn=plan.turn,
        workers=2 if way == "workers" else 1,
    )


CELLS = {
    (plan.attack, count, way): _row(plan, count, way)
    for plan in PLANS
    for count in NUMBERS
    for way in WAYS
}
rows(CELLS.values())


@pytest.mark.parametrize("cell", sorted(SHORT), ids=lambda cell: "-".join(map(str, cell)))
def test_an_attack_in_numbers(cell: tuple[str, int, str]) -> None:
    CELLS[cell].hold()
