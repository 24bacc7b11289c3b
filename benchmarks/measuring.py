"""One work on one server: started afresh, warmed up, measured, and what it did checked."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import attrs

from . import building
from .errors import MeasurementError
from .figures import Sample
from .loading import TIMEOUT, Lines, Load
from .processes import Process, cores, free_port, last_words, running, wait_for_port
from .servers import Server, Start
from .works import Work

SECONDS = 1.0
"""CPU time that a measurement takes, about."""

WARM_UP = 0.8
"""CPU time that goes before it: with less, what compiles as it runs, as Node, looks slow."""

_BUSY = 0.9
"""The least share of the time that the measured process must work; less means too low a load."""

_LINE = b"Message received: "


@attrs.define
class Bench:
    """Measures in a folder for what is written meanwhile.

    `scale` is how long, as a part of the usual; `warm_up` is in seconds. `counts`
    remembers how often a server does a work in that time: found out once, the
    same in every round.
    """

    folder: Path
    load: Path
    scale: float = 1.0
    warm_up: float = WARM_UP
    counts: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def measure(self, work: Work, server: Server, echo: Server) -> Sample:
        """One sample. Raises `MeasurementError`.

        For a client, `echo` is the server that it talks to, and `server` names the client.
        """
        log = self.folder / "messages.log"
        log.unlink(missing_ok=True)
        start = Start(
            work,
            free_port(),
            log,
            building.certificate(self.folder) if work.tls else None,
        )
        started = echo if work.kind == "client" else server
        measured, loading = cores()
        where = loading if work.kind == "client" else measured
        with running(
            started.command(start), self.folder, "server", where, started.environment
        ) as process:
            if not wait_for_port(start.port, process):
                said = last_words(self.folder, "server")
                raise MeasurementError(f"{started.name} did not start: {said}")
            subject = Subject(self, work, server, start, process)
            sample = subject.memory() if work.memory else subject.measure()
            if process.poll() is not None:
                raise MeasurementError(f"{started.name} ended: {last_words(self.folder, 'server')}")
        return sample


class Subject:
    """The measured process: a running server, or a client of it."""

    def __init__(
        self,
        bench: Bench,
        work: Work,
        server: Server,
        start: Start,
        process: subprocess.Popen[str],
    ) -> None:
        self._bench = bench
        self._work = work
        self._server = server
        self._start = start
        self._process = process
        ours = server.ours and not work.log_file
        self._lines = Lines(bench.folder / "server.stdout" if ours else start.log, _LINE)
        self._logged = 0
        self._asked = 0

    def memory(self) -> Sample:
        """Resident memory with all connections open."""
        connections = self._work.connections
        with self._run(1, connections) as process:
            load = Load(process, self._bench.folder, self._server.name)
            server = Process(self._process.pid)
            server.settled_cpu()
            memory = server.memory()
            load.end()
        return Sample(memory / 1024**2, count=connections)

    def measure(self) -> Sample:
        """Microseconds of CPU time for each message."""
        key = (self._work.name, self._server.name)
        seconds = SECONDS * self._bench.scale
        count = self._bench.counts.get(key)
        if count is None:
            each = self._warm_up(self._work.first)
            count = self._bench.counts[key] = self._part(seconds / each)
        else:
            self._warm_up(self._part(count * self._bench.warm_up / seconds))
        sample, _ = self._once(count)
        return sample

    def _warm_up(self, count: int) -> float:
        """Work for as long as warming up takes; returns the last seconds of CPU time for each."""
        left = self._bench.warm_up
        while True:
            _, each = self._once(count)
            left -= each * count
            if left <= 0:
                return each
            # What is still cold seems to need less to get warm than it does.
            count = self._part(1.5 * left / each)

    def _part(self, count: float) -> int:
        return max(int(count), 1 if self._work.kind == "broadcast" else self._work.connections)

    def _once(self, count: int) -> tuple[Sample, float]:
        """A sample, and the seconds of CPU time for each of what is counted."""
        connections = self._work.connections
        with self._run(count, connections) as process:
            load = Load(process, self._bench.folder, self._server.name)
            client = self._work.kind == "client"
            subject = Process(process.pid if client else self._process.pid)
            before = subject.settled_cpu()
            result = load.work()
            self._check_log(count)
            used = subject.settled_cpu() - before
            load.end()
        self._check_answer()
        done, seconds = result["count"], result["seconds"]
        # What is counted of a broadcast is rounds, and all that they bring.
        expected = count * connections if self._work.kind == "broadcast" else count
        if done != expected:
            raise MeasurementError(f"{self._server.name}: {done} of {expected} messages came")
        if self._work.deflate and result["compressed"] != done:
            raise MeasurementError(f"{self._server.name}: answers that are not compressed")
        sample = Sample(
            cost=used / done * 1e6,
            rate=done / seconds,
            p50=result.get("p50_us", 0.0),
            p99=result.get("p99_us", 0.0),
            count=done,
            idle=used < _BUSY * seconds,
        )
        return sample, max(used, 1e-9) / count

    def _run(self, count: int, connections: int) -> Any:
        work = self._work
        arguments: list[str | Path]
        if work.kind == "client":
            assert self._server.client
            numbers = (self._start.port, connections, work.depth, count)
            arguments = [self._server.python, self._server.client, *map(str, numbers)]
            where = cores()[0]
        else:
            arguments = [
                *(self._bench.load, work.kind, "--pause", "--timeout", str(TIMEOUT)),
                *("--port", str(self._start.port), "--connections", str(connections)),
                *("--count", str(count), "--size", str(work.size), "--depth", str(work.depth)),
                *(("--binary",) if work.binary else ()),
                *(("--tls",) if work.tls else ()),
                *(self._first_answers() if work.kind == "echo" else ()),
            ]
            where = cores()[1]
        return running(arguments, self._bench.folder, "load", where, talks=True)

    @property
    def _answer(self) -> Path:
        return self._bench.folder / "answer"

    def _first_answers(self) -> list[str | Path]:
        """The first time, what comes back is compared with what was sent."""
        self._asked += 1
        arguments: list[str | Path] = []
        if self._work.deflate:
            arguments += ["--deflate", building.compressed(self._bench.folder, self._work.size)]
            if self._asked == 1:
                arguments += ["--save", self._answer]
        elif self._asked == 1:
            arguments += ["--check"]
        return arguments

    def _check_answer(self) -> None:
        if not self._answer.exists():
            return
        answer = building.inflated(self._answer.read_bytes())
        self._answer.unlink()
        if answer != building.text(self._work.size):
            raise MeasurementError(f"{self._server.name}: a wrong answer, once inflated")

    def _check_log(self, count: int) -> None:
        """Wait until every message has its line."""
        if self._work.kind != "ingest":
            return
        self._logged += count
        deadline = time.monotonic() + 20
        while (lines := self._lines.count()) < self._logged and time.monotonic() < deadline:
            time.sleep(0.01)
        if lines != self._logged:
            raise MeasurementError(
                f"{self._server.name}: {lines} lines in the log for {self._logged} messages"
            )
