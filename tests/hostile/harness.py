"""Attacks on a running server, and what they cost it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..integration.processes import Program, Programs, wait_until
from ..integration.test_listening_places import make_certificate
from ..integration.wire import Wire
from .beside import ROOT, Neighbour
from .channels import CONTROL
from .processes import Service

MIB = 1024 * 1024

LONGEST_TURN = 0.010
"""Seconds of CPU time that no connection may hold the reactor longer."""

MEDIAN, WORST = 0.050, 0.150
"""Seconds of the server's CPU time that a neighbour's round trips may take."""

LINE = 512
"""Octets of a log line of no message."""

_TRIES = 50
"""Connections that are made until each worker was reached."""

_LENIENCE = 5
"""How many times their bounds the longest turn and trip may be on a shared machine, as in CI."""

_PAGES = MIB
"""Octets by which memory may exceed its bound there: allocators and kernels differ in what they
keep of what was freed, and a fault that a row is for takes many times that."""


def slack(full: bool) -> float:
    """Seconds after a time limit in which its effect is to be seen: more on a shared machine."""
    return 1 if full else 2.5


@dataclass
class Measured:
    """The cost of an attack for the server."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    """Octets by which resident memory grew, at its highest."""
    descriptors: int = 0
    """How many more there are after it."""
    log: int = 0
    lines: int = 0
    tracebacks: int = 0
    ended: bool = False
    """True if a process of the server ended."""
    turn: float = 0.0
    """Seconds of CPU time of the longest turn in the reactor."""
    load: float = 0.0
    """Processes that ran or waited for a CPU, in the last minute on average."""
    median: float = 0.0
    """Seconds of the server's CPU time that a neighbour's round trips took."""
    worst: float = 0.0
    trips: int = 0
    notes: dict[str, str] = field(default_factory=dict)


class Attack:
    """A server to attack: its ports, ways to reach it, and what was seen."""

    def __init__(
        self, server: Program, full: bool, tls: bool, certificate: Path | None, workers: int = 1
    ) -> None:
        self.server = server
        #: False in CI, where what takes minutes is shortened.
        self.full = full
        #: As the function has it.
        self.slack = slack(full)
        if workers > 1:
            server.log.wait_for("): started", workers)
        ports = server.log.wait_for_ports(2 if tls else 1)
        self.port = ports[0]
        self.tls_port = ports[1] if tls else 0
        #: The certificate that `tls_port` shows; its host is localhost.
        self.certificate = certificate
        self.process = Service(server.process.pid, _workers(server) if workers > 1 else [])
        #: How many connections were made: the log may have lines for each.
        self.connections = 0
        #: What else was measured, by what it is called in the table.
        self.notes: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def socket(self, tls: bool = False, receive_buffer: int = 0) -> socket.socket:
        """A connection to the server, on which nothing was said yet."""
        self.connections += 1
        made = self._stack.enter_context(socket.socket())
        made.settimeout(20)
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(("127.0.0.1", self.tls_port if tls else self.port))
        return made

    def connect(
        self,
        path: str = "/attack",
        headers: str = "",
        receive_buffer: int = 0,
        tls: bool = False,
        source: str = "",
    ) -> Wire:
        """An open WebSocket connection. `receive_buffer` makes its window small.

        `source` is an address of this machine, such as 127.0.0.2.
        """
        self.connections += 1
        port = self.tls_port if tls else self.port
        wire = Wire(port, path=path, receive_buffer=receive_buffer, source=source)
        self._stack.callback(wire.end)
        if tls:
            wire.secure(self.context(), "localhost")
        return wire.upgrade(headers=headers)

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts the server's certificate."""
        return ssl.create_default_context(cafile=self.certificate)

    def told(self) -> dict[str, int]:
        """Return the events of the `Push` behaviour, once it has sent all that was requested."""
        deadline = time.monotonic() + 60
        while True:
            figures: dict[str, int] = _ask(self, "figures")[0]["told"]
            if figures.get("done"):
                return figures
            assert time.monotonic() < deadline, figures
            time.sleep(0.05)

    def end(self) -> None:
        """Let go of every connection."""
        self._stack.close()


def _workers(server: Program) -> list[int]:
    """Return the process ids of a server's workers."""
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\): started", server.log.text)]


def _ask(attack: Attack, what: str) -> list[dict[str, Any]]:
    """Ask each process that serves for its own figures."""
    left = set(attack.process.serving)
    said: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        # The next connection goes to the worker that has the fewest.
        for _ in range(_TRIES):
            control = Wire(attack.port, path=f"/{CONTROL}").upgrade()
            stack.callback(control.end)
            stack.callback(control.close)
            control.send(what)
            figures = json.loads(control.receive())  # type: ignore[arg-type]
            if figures["pid"] in left:
                left.remove(figures["pid"])
                said.append(figures)
            if not left:
                return said
    raise AssertionError(f"no figures of {left}")


@contextlib.contextmanager
def watch(attack: Attack) -> Iterator[Measured]:
    """Measure the server around a block; the figures are there after it."""
    measured = Measured(notes=attack.notes)
    process = attack.process
    log = attack.server.log.path
    neighbour = Neighbour(attack.port, process.serving)
    try:
        descriptors = process.descriptors()
        _ask(attack, "begin")
        wait_until(lambda: process.descriptors() == descriptors, "the end of a connection")
        process.forget_highest()
        memory, cpu = process.memory(), process.cpu()
        octets = log.stat().st_size
        began = time.monotonic()
        yield measured
        measured.seconds = time.monotonic() - began
        measured.load = os.getloadavg()[0]
        attack.end()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: process.descriptors() <= descriptors, "descriptors")
        measured.cpu = process.cpu() - cpu
        measured.memory = max(0, process.highest() - memory)
        measured.descriptors = process.descriptors() - descriptors
        measured.ended = not process.is_whole()
        measured.turn = max(each["longest"] for each in _ask(attack, "figures"))
        figures = neighbour.end()
        measured.median, measured.worst = figures["median"], figures["worst"]
        measured.trips = figures["trips"]
        said = log.read_bytes()[octets:]
        measured.log, measured.lines = len(said), said.count(b"\n")
        errors = attack.server.stderr.text
        measured.tracebacks = sum(
            each in part
            for each in ("Traceback", "Unhandled", "Error")
            for part in (said.decode(), errors)
        )
    finally:
        neighbour.kill()
        attack.end()


@dataclass(frozen=True)
class Row:
    """A row of the table of attacks. `attack` says what the peer got."""

    name: str
    bound: str
    attack: Callable[[Attack], str]
    theme: str
    options: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    """More options in CI, that shorten what takes long."""
    behaviour: str = "Echo"
    memory: int | None = None
    """Octets by which the server's memory may grow."""
    log: int = 2 * LINE
    """Octets that the log may grow by, for each connection."""
    tls: bool = False
    turn: float = LONGEST_TURN
    """Seconds of CPU time that the longest turn in the reactor may take."""
    workers: int = 1
    """Processes that serve."""
    needs: Callable[[Path], contextlib.AbstractContextManager[Sequence[str]]] | None = None
    """Makes what the server needs, in a folder, and returns the options that name it."""

    def run(self, full: bool) -> Result:
        """Start a server, attack it, stop it."""
        with tempfile.TemporaryDirectory() as folder:
            programs = Programs(Path(folder))
            needs = self.needs or (lambda _: contextlib.nullcontext(()))
            with needs(programs.folder) as options:
                try:
                    return self._run(programs, full, options)
                finally:
                    programs.end()

    def hold(self) -> None:
        """Run it shortened, as a test. Raises `AssertionError` where a bound did not hold."""
        result = self.run(full=False)
        assert not result.problems, f"{result.problems} ({result.got}; {result.figures})"

    def _run(self, programs: Programs, full: bool, more: Sequence[str]) -> Result:
        listen = ["--listen", "tcp:0:interface=127.0.0.1", "--drain", "0.5"]
        certificate = None
        if self.tls:
            key, certificate = make_certificate(programs.folder)
            listen += [
                "--listen",
                f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
            ]
        if self.workers > 1:
            listen += ["--workers", str(self.workers)]
        behaviour = f"tests.hostile.behaviours.{self.behaviour}"
        server = programs.twistd(
            *listen,
            *("--protocol", behaviour),
            *self.options,
            *more,
            *(() if full else self.short),
            environment={"PYTHONPATH": str(ROOT)},
        )
        attack = Attack(server, full, self.tls, certificate, self.workers)
        with watch(attack) as measured:
            try:
                got = self.attack(attack)
            except Exception as error:
                error.add_note(f"The server's log ends:\n{server.log.text[-3000:]}")
                raise
        return Result(self, got, measured, self._problems(measured, attack.connections, full))

    def _problems(self, measured: Measured, connections: int, full: bool) -> Problems:
        hard: list[str] = []
        soft: list[str] = []
        allowed = None if self.memory is None else self.memory + (0 if full else _PAGES)
        if allowed is not None and measured.memory > allowed:
            hard.append(f"memory +{_mib(measured.memory)} of {_mib(allowed)}")
        if measured.descriptors > 0:
            hard.append(f"{measured.descriptors} descriptors left")
        if measured.log > self.log * connections:
            hard.append(f"log +{measured.log} of {self.log * connections} octets")
        if measured.ended:
            hard.append("a process of the server ended")
        if measured.tracebacks:
            hard.append("a traceback in the log")
        turn = self.turn * (1 if full else _LENIENCE)
        if measured.turn > turn:
            (soft if full else hard).append(f"longest turn {_ms(measured.turn)} of {_ms(turn)}")
        if measured.median > MEDIAN:
            hard.append(f"median {_ms(measured.median)} of {_ms(MEDIAN)}")
        worst = WORST * (1 if full else _LENIENCE)
        if measured.worst > worst:
            (soft if full else hard).append(f"worst {_ms(measured.worst)} of {_ms(worst)}")
        return Problems(hard, soft)


@dataclass(frozen=True)
class Problems:
    """The bounds that did not hold; those of time may be another's doing, once."""

    hard: Sequence[str]
    soft: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.hard or self.soft)

    def __str__(self) -> str:
        return "; ".join([*self.hard, *self.soft])


@dataclass(frozen=True)
class Result:
    """The result of a row."""

    row: Row
    got: str
    measured: Measured
    problems: Problems

    @property
    def load(self) -> float:
        """Processes that ran or waited for a CPU, in the last minute on average."""
        return self.measured.load

    @property
    def figures(self) -> str:
        """Return the measurements with their bounds, as text."""
        measured = self.measured
        bound = f" of {_mib(self.row.memory)}" if self.row.memory is not None else ""
        return ", ".join(
            [
                f"memory +{_mib(measured.memory)}{bound}",
                f"longest turn {_ms(measured.turn)} of {_ms(self.row.turn)}",
                f"neighbour {_ms(measured.median)} of {_ms(MEDIAN)}",
                f"at worst {_ms(measured.worst)} of {_ms(WORST)}",
                f"{measured.lines} log lines",
                f"CPU {measured.cpu:.1f} s",
                *(f"{name} {value}" for name, value in measured.notes.items()),
            ]
        )


def _mib(octets: int) -> str:
    return f"{octets / MIB:.1f} MiB"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


ROWS: list[Row | Alone] = []
"""Every row of the modules that were imported, in their order."""


def rows(made: Iterable[Row]) -> None:
    """Make attacks rows of the table. Each is a test if one calls `Row.hold`."""
    ROWS.extend(made)


def row(
    name: str, bound: str, **how: Any
) -> Callable[[Callable[[Attack], str]], Callable[[], None]]:
    """Make an attack a row of the table, and a test.

    `name` and `bound` are what the table says. `how` is as in `Row`: `options`,
    `short`, `behaviour`, `memory`, `log`, `tls`, `turn`, `workers`, `needs`.
    """

    def decorate(attack: Callable[[Attack], str]) -> Callable[[], None]:
        made = Row(name, bound, attack, attack.__module__.rpartition(".")[2], **how)
        ROWS.append(made)

        def test() -> None:
            made.hold()

        test.__name__ = test.__qualname__ = attack.__name__
        test.__doc__ = attack.__doc__
        test.__module__ = attack.__module__
        return test

    return decorate


@dataclass(frozen=True)
class Alone:
    """A row that measures for itself: its server is started in a way of its own."""

    name: str
    bound: str
    attack: Callable[[Programs, bool], str]
    theme: str

    def run(self, full: bool) -> Told:
        """Attack; what does not hold is raised."""
        with tempfile.TemporaryDirectory() as folder:
            programs = Programs(Path(folder))
            try:
                return Told(self, self.attack(programs, full), os.getloadavg()[0])
            finally:
                programs.end()


@dataclass(frozen=True)
class Told:
    """The result of a row that did its own measurement."""

    row: Alone
    got: str
    load: float
    figures: str = "as the peer got it"
    problems: Problems = Problems((), ())


def alone(name: str, bound: str) -> Callable[[Callable[[Programs, bool], str]], Callable[[], None]]:
    """Make an attack that measures for itself a row of the table, and a test."""

    def decorate(attack: Callable[[Programs, bool], str]) -> Callable[[], None]:
        made = Alone(name, bound, attack, attack.__module__.rpartition(".")[2])
        ROWS.append(made)

        def test() -> None:
            made.run(full=False)

        test.__name__ = test.__qualname__ = attack.__name__
        test.__module__ = attack.__module__
        return test

    return decorate
