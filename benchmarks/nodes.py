"""Nodes of the service, each with its admin face, and who listens to them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from .asking import Asked, publish
from .errors import MeasurementError
from .loading import Load
from .processes import Process, free_port, last_words, running, wait_for_port

CHANNEL = "bench"

_READY = 20.0
"""Seconds that a node may take until its `/readyz` says so."""


@attrs.frozen
class Node:
    """One that serves."""

    port: int
    admin: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU time so far, once it is at rest."""
        return Process(self.pid).settled_cpu()

    def memory(self) -> int:
        """Octets of resident memory."""
        return Process(self.pid).memory()

    def octets_sent(self) -> int:
        """Octets that its connections were sent."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            text = answer.read().decode()
        (found,) = re.findall(r'^wsservice_octets_total{direction="sent"} (\S+)$', text, re.M)
        return int(float(found))

    def publish(self, count: int, size: int, **how: Any) -> Asked:
        """Publish on the channel that all listen on; see `asking.publish`."""
        return publish(self.admin, CHANNEL, count, size, **how)


@contextlib.contextmanager
def node(
    folder: Path, *options: str, name: str = "node", where: set[int] | None = None
) -> Iterator[Node]:
    """A node: one process, on some cores or all. `options` are the service's, beside its ports."""
    port, admin = free_port(), free_port()
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "wsdemo"),
        *("--port", str(port), "--admin", f"tcp:{admin}:interface=127.0.0.1"),
        *("--greeting", "", "--max-connections", "0", *options),
    ]
    with running(command, folder, name, where or os.sched_getaffinity(0)) as process:
        if not wait_for_port(port, process) or not _ready(admin):
            raise MeasurementError(f"a node did not start: {last_words(folder, name)}")
        yield Node(port, admin, process.pid)


def _ready(admin: int) -> bool:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, MeasurementError):
            if publish(admin, "ready", 1, 20, in_flight=1).accepted:
                return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def nodes(folder: Path, count: int, *options: str) -> Iterator[list[Node]]:
    """Start `count` nodes with the same options."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(node(folder, *options, name=f"node-{number}"))
            for number in range(1, count + 1)
        ]


@contextlib.contextmanager
def listening(
    program: Path, folder: Path, to: Sequence[Node], connections: int, count: int, *options: str
) -> Iterator[Load]:
    """Open connections on the channel at each node, each of which waits for its messages.

    The `result` is there once all have come.
    """
    ports: list[str | Path] = [word for each in to for word in ("--port", str(each.port))]
    command: list[str | Path] = [
        *(program, "listen", "--pause", "--timeout", "120", "--path", f"/{CHANNEL}", *ports),
        *("--connections", str(connections * len(to)), "--count", str(count), *options),
    ]
    with running(command, folder, "load", os.sched_getaffinity(0), talks=True) as process:
        load = Load(process, folder, "listeners")
        yield load
        load.end()
