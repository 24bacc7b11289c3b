"""The gain and the cost of workers: `make bench-workers`, which writes a part of docs/workers.md.

Two workers beside one process, a worker killed under load, and a roll under load.
Nothing is bound to a core: the load generator shares those that there are.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs

from . import building, machine, report
from .errors import BenchmarkError, MeasurementError
from .loading import Load
from .processes import ROOT, Process, free_port, last_words, running, wait_for_port

DOCUMENT = ROOT / "docs" / "workers.md"
HEADING = "## Measured\n"

_ROUNDS = 3
_PATIENCE = 60.0
_CALLERS = 8


@attrs.frozen
class Task:
    """One kind of load."""

    title: str
    kind: str
    protocol: str
    count: int
    connections: int
    depth: int = 1


LOADS = (
    Task("logged ingest, 16 B, 8 connections", "ingest", "greeting", 1_200_000, 8),
    Task("echo, 16 B, 50 connections", "echo", "echo", 150_000, 50),
    Task(
        "a behaviour that computes, 50 connections",
        "echo",
        "benchmarks.behaviours.Computing",
        12_000,
        50,
    ),
    Task(
        "broadcast, 16 B, to 500 connections",
        "broadcast",
        "benchmarks.behaviours.Broadcast",
        400,
        500,
    ),
)


@contextlib.contextmanager
def service(folder: Path, workers: int, protocol: str) -> Iterator[tuple[int, int]]:
    """A service that serves: its port, and its process id."""
    port = free_port()
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "wsdemo"),
        *("--port", str(port), "--protocol", protocol, "--workers", str(workers)),
        *("--message-log", folder / "messages.log"),
    ]
    with running(command, folder, "server", os.sched_getaffinity(0)) as process:
        if not wait_for_port(port, process):
            raise MeasurementError(f"it did not start: {last_words(folder, 'server')}")
        if workers > 1:
            _wait(lambda: len(started(folder)) >= workers, "the workers")
        yield port, process.pid


def started(folder: Path) -> list[int]:
    """The process ids of the workers that began to serve, in that order."""
    log = (folder / "server.stdout").read_text(errors="replace")
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\): started", log)]


def _wait(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise MeasurementError(f"waited {_PATIENCE:g} s for {what}")
        time.sleep(0.002)


def _cpu(pid: int, folder: Path) -> float:
    return sum(Process(each).settled_cpu() for each in {pid, *started(folder)})


def sample(load: Task, workers: int, folder: Path, program: Path) -> tuple[float, float]:
    """Messages a second, and microseconds of CPU time that the service took for each."""
    with service(folder, workers, load.protocol) as (port, pid):
        command: list[str | Path] = [
            *(program, load.kind, "--pause", "--timeout", "60", "--port", str(port)),
            *("--connections", str(load.connections), "--count", str(load.count)),
            *("--size", "16", "--depth", str(load.depth)),
        ]
        for _ in range(2):  # the first is to warm up
            with running(command, folder, "load", os.sched_getaffinity(0), talks=True) as process:
                generator = Load(process, folder, load.title)
                before = _cpu(pid, folder)
                result = generator.work()
                used = _cpu(pid, folder) - before
                generator.end()
    return result["count"] / result["seconds"], used / result["count"] * 1e6


class Callers:
    """Clients that connect, get their greeting and leave, at full speed. Errors are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(_CALLERS)]
        self.times: list[float] = []
        self.refused: list[str] = []

    def __enter__(self) -> Callers:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                call(self._port)
            except (OSError, EOFError) as error:
                self.refused.append(repr(error))
            else:
                self.times.append(time.monotonic() - began)


def call(port: int) -> socket.socket:
    """Connect, and wait for the greeting. Raises `OSError` or `EOFError` where there is none."""
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        said = b""
        while b"Hello from server" not in said:
            more = connection.recv(4096)
            if not more:
                raise EOFError(said.partition(b"\r\n")[0].decode(errors="replace"))
            said += more
        connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        while connection.recv(4096):
            pass
        return connection


def killed(folder: Path) -> tuple[float, int, int]:
    """Seconds until as many workers serve again, callers served, and callers that were harmed."""
    with service(folder, 2, "greeting") as (port, _), Callers(port) as callers:
        _wait(lambda: len(callers.times) > 200, "callers")
        os.kill(started(folder)[0], signal.SIGKILL)
        began = time.monotonic()
        _wait(lambda: len(started(folder)) == 3, "another worker")
        took = time.monotonic() - began
    return took, len(callers.times), len(callers.refused)


def rolled(folder: Path) -> tuple[float, int, int]:
    """Seconds that a roll takes, callers served, and callers that were refused."""
    with service(folder, 2, "greeting") as (port, pid), Callers(port) as callers:
        _wait(lambda: len(callers.times) > 200, "callers")
        os.kill(pid, signal.SIGUSR2)
        began = time.monotonic()
        _wait(lambda: len(started(folder)) == 4, "the new workers")
        took = time.monotonic() - began
    return took, len(callers.times), len(callers.refused)


def measured(folder: Path) -> str:
    """The section of the document, and all of it on the terminal too."""
    program = building.load_generator()
    table: list[report.Row] = []
    for load in LOADS:
        rates: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(_ROUNDS):
            for workers, samples in rates.items():
                samples.append(sample(load, workers, folder, program))
        rate = {n: statistics.median(each[0] for each in rates[n]) for n in rates}
        cost = {n: statistics.median(each[1] for each in rates[n]) for n in rates}
        table.append(
            (
                load.title,
                report.number(rate[1]),
                report.number(rate[2]),
                report.times(rate[2] / rate[1]),
                report.number(cost[1]),
                report.number(cost[2]),
            )
        )
        print("  ".join(table[-1]), flush=True)
    kills = [killed(folder) for _ in range(_ROUNDS)]
    rolls = [rolled(folder) for _ in range(_ROUNDS)]
    head = ("load", "a second, 1", "a second, 2", "2 by 1", "CPU µs, 1", "CPU µs, 2")
    text = f"""
Measured by `make bench-workers` on {datetime.now(UTC):%Y-%m-%d}. Machine: {machine.processor()},
{machine.kernel()}, {machine.python()}. Figures are medians of {_ROUNDS} rounds. CPU µs is the CPU
time of the whole service for each message, its parent included.

**The load generator shares these cores with the service**, so two workers are not twice as fast
here. Beside one process it has a core to itself; beside two workers it takes its share from them.
The behaviour that computes needs little load from outside, and shows the gain of the second core.

{report.markdown(head, table)}

- A worker was killed under load: {_CALLERS} clients connected, received the greeting and left, as
  fast as they could. The full number of workers served again after {_seconds(kills)}.
  {_total(kills, 1)} clients were served meanwhile; {_total(kills, 2)} connections of the killed
  worker were cut off.
- A replacement of all workers under the same load took {_seconds(rolls)}; {_total(rolls, 1)}
  clients were served, **{_total(rolls, 2)} refused**.
"""
    print(text)
    return text


def _seconds(runs: list[tuple[float, int, int]]) -> str:
    times = sorted(each[0] for each in runs)
    return f"{times[0]:.2f} to {times[-1]:.2f} s"


def _total(runs: list[tuple[float, int, int]], place: int) -> str:
    return f"{sum(int(each[place]) for each in runs):,}"


def main() -> int:
    """The exit status: 0, or 2 where it cannot be measured."""
    try:
        with tempfile.TemporaryDirectory(prefix="wsservice-bench-") as folder:
            text = measured(Path(folder))
    except (BenchmarkError, subprocess.SubprocessError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    before = DOCUMENT.read_text().partition(HEADING)[0]
    DOCUMENT.write_text(before + HEADING + text)
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
