"""Redis goes away and comes back: how long that takes, and what becomes of 10,000 messages."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from . import broker
from .asking import Line
from .errors import MeasurementError
from .listener import Client, Wanderer
from .nodes import CHANNEL, nodes
from .processes import running

AWAY = 2.0
"""Seconds that Redis is away."""

MESSAGES = 10_000
CLIENTS = 6
PUBLISHERS = 4

_PATIENCE = 60.0
_AGAIN = 0.02
"""Seconds after which a publish that was refused is tried again."""


def recovered(folder: Path, program: Path, channels: int) -> float:
    """Seconds from Redis answering again to what one node publishes being heard at the other.

    The other node has so many channels to subscribe to, and the one that is heard.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(broker.server(folder))
        one, other = stack.enter_context(nodes(folder, 2, "--broker", server.url))
        command: list[str | Path] = [
            *(program, "idle", "--timeout", "120", "--port", str(other.port)),
            *("--connections", str(channels), "--path", f"/{CHANNEL}-", "--apart"),
        ]
        where = os.sched_getaffinity(0)
        stack.enter_context(running(command, folder, "load", where, talks=True))
        client = stack.enter_context(Client(other.port, f"/{CHANNEL}"))
        with broker.Redis(server.port) as redis:
            redis.wait_for_subscribers(CHANNEL, channels + 1)
        server.kill()
        time.sleep(AWAY)
        server.start()
        began = time.monotonic()
        line = Line(one.admin)
        stack.callback(line.close)
        while not client.readable(0.005):
            if time.monotonic() > began + _PATIENCE:
                raise MeasurementError("nothing is heard after Redis came back")
            line.ask(f"/publish/{CHANNEL}", b"again", "text/plain")
            line.wait()
        return time.monotonic() - began


@attrs.frozen
class Outcome:
    """The outcomes of the messages."""

    accepted: int
    refused: int
    """How often a publish was answered 503, and tried again."""
    unknown: int
    """Publishes of which nobody could say what became of them."""
    came: int
    """How many of those all clients heard."""
    moves: int
    """How often a client came to another node, and resumed."""
    missing: int
    twice: int
    disordered: int
    gaps: int
    seconds: float


def kept(folder: Path) -> Outcome:
    """Messages by the thousand, Redis killed amid them, clients that wander and resume."""
    options = ("--history", f"{2 * MESSAGES},600")
    with (
        broker.server(folder, "--appendonly", "yes", "--appendfsync", "always") as server,
        nodes(folder, 2, "--broker", server.url, *options) as serving,
    ):
        clients = [Wanderer([each.port for each in serving], CHANNEL, n) for n in range(CLIENTS)]
        for each in clients:
            each.start()
            if not each.joined.wait(_PATIENCE):
                raise MeasurementError(f"a client does not join: {each.problem or 'no envelope'}")
        publishers = [
            _Publisher(serving[number % len(serving)].admin, number) for number in range(PUBLISHERS)
        ]
        began = time.monotonic()
        # The process that is killed is to be this thread's child: it ends with its parent.
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            publishing = [pool.submit(each.run) for each in publishers]
            publishers[0].amid.wait(_PATIENCE)
            server.kill()
            time.sleep(AWAY)
            server.start()
            for future in publishing:
                future.result()
        seconds = time.monotonic() - began
        _wait_for(clients, sum(len(each.accepted) for each in publishers))
        for each in clients:
            each.end()
    return _outcome(clients, publishers, seconds)


class _Publisher:
    """Publishes its share, one after another, each until it is answered what became of it."""

    def __init__(self, admin: int, number: int) -> None:
        self._admin = admin
        self._share = range(number, MESSAGES, PUBLISHERS)
        self.statuses: Counter[int] = Counter()
        self.accepted: list[str] = []
        self.unknown: list[str] = []
        self.amid = threading.Event()

    def run(self) -> None:
        """Do it; `amid` is set when a third of them is out."""
        with contextlib.closing(Line(self._admin)) as line:
            for number in self._share:
                if number >= MESSAGES // 3:
                    self.amid.set()
                text = str(number)
                accepted = self._published(line, text)
                (self.accepted if accepted else self.unknown).append(text)

    def _published(self, line: Line, text: str) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while True:
            line.ask(f"/publish/{CHANNEL}", text.encode(), "text/plain")
            status, said = line.wait()
            self.statuses[status] += 1
            if status in (200, 202):
                return True
            if status == 504:
                return False
            if status != 503:
                raise MeasurementError(f"a publish was answered {status}: {said[:200]!r}")
            if time.monotonic() > deadline:
                raise MeasurementError(f"publishes are refused for ever: {said[:200]!r}")
            time.sleep(_AGAIN)


def _wait_for(clients: list[Wanderer], count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while any(len(each.heard) < count for each in clients):
        if time.monotonic() > deadline:
            return  # what is missing is counted
        time.sleep(0.05)


def _outcome(clients: list[Wanderer], publishers: list[_Publisher], seconds: float) -> Outcome:
    accepted = {text for each in publishers for text in each.accepted}
    unknown = [text for each in publishers for text in each.unknown]
    missing = twice = disordered = 0
    for client in clients:
        missing += len(accepted - {*client.heard})
        twice += len(client.heard) - len({*client.heard})
        for number in range(PUBLISHERS):
            share = [int(text) for text in client.heard if int(text) % PUBLISHERS == number]
            disordered += sum(later < former for former, later in itertools.pairwise(share))
    return Outcome(
        accepted=len(accepted),
        refused=sum(each.statuses[503] for each in publishers),
        unknown=len(unknown),
        came=sum(all(text in each.heard for each in clients) for text in unknown),
        moves=sum(each.moves for each in clients),
        missing=missing,
        twice=twice,
        disordered=disordered,
        gaps=sum(each.gaps for each in clients),
        seconds=seconds,
    )
