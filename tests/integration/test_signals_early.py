"""SIGHUP, SIGUSR1 and SIGUSR2 while a service starts: it starts all the same."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..needs import need
from .conftest import Connect
from .processes import Output, Program, Programs, wait_until
from .test_workers import workers

SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

SLOW = """
import os, pathlib, subprocess, time
import wsservice

here = pathlib.Path(__file__).parent
(here / f"importing-{os.getpid()}").touch()
while not (here / "go").exists() and not (here / f"go-{os.getpid()}").exists():
    time.sleep(0.01)

class Slow(wsservice.GreetingServerProtocol):
    def onMessage(self, payload, isBinary):
        # Report which signals a program that is started here ignores or blocks.
        status = subprocess.run(["cat", "/proc/self/status"], capture_output=True).stdout
        self.sendMessage(status)
"""


@pytest.fixture(autouse=True)
def linux() -> None:
    need(sys.platform == "linux", "Linux, for /proc")


def mask(pid: int, name: str) -> int:
    """A set of signals of a process, of its status; 0 where there is none any more."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1], 16)
    return 0


def has(signals: int, number: int) -> bool:
    return bool(signals & 1 << (number - 1))


def catches(pid: int) -> bool:
    """Return True if a process has handlers for all three signals."""
    caught = mask(pid, "SigCgt")
    return all(has(caught, number) for number in SIGNALS)


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextmanager
def bombarded(
    number: int, pids: Callable[[], Iterable[int]], pause: float = 0.001
) -> Iterator[list[int]]:
    """Send a signal to processes, again and again; gives the pids that it was sent to."""
    over = threading.Event()
    hit: list[int] = []

    def run() -> None:
        while not over.is_set():
            for pid in pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if pid not in hit:
                    hit.append(pid)
            time.sleep(pause)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield hit
    finally:
        over.set()
        thread.join()


def slow(programs: Programs) -> Path:
    (programs.folder / "slow.py").write_text(SLOW)
    return programs.folder


def importing(folder: Path) -> set[int]:
    """The processes that have come to the behaviour."""
    return {int(each.name.partition("-")[2]) for each in folder.glob("importing-*")}


@pytest.mark.parametrize("how", ["twistd", "twist"])
@pytest.mark.parametrize("count", [1, 2])
def test_while_it_loads_what_it_needs(
    programs: Programs, connect: Connect, how: str, count: int
) -> None:
    folder = slow(programs)
    file = folder / "ws.toml"
    file.write_text('greeting = "one"\n')
    given = ("--port", "0", "--workers", str(count), "--protocol", "slow.Slow", "--config", file)
    server: Program = getattr(programs, how)(*given)
    wait_until(lambda: importing(folder), "the import")
    (pid,) = importing(folder)
    assert pid == server.process.pid
    # The settings were read before: what is other since then is not lost.
    file.write_text('greeting = "two"\n')
    for number in SIGNALS * 2:
        server.signal(number)
    (folder / f"go-{pid}").touch()
    if count > 1:
        wait_until(lambda: len(importing(folder)) == 3, "the import of workers")
        started = importing(folder) - {pid}
        for each in started:
            for number in SIGNALS:
                os.kill(each, number)
        (folder / "go").touch()
        assert set(workers(server)) == started
    server.log.wait_for("SIGHUP: the settings were read anew; changed: greeting")
    for _ in range(2 * count):
        assert connect(server.port).receive() == "two"
    assert server.process.poll() is None


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("count", [1, 2])
def test_from_the_first_handler_on(
    programs: Programs, connect: Connect, number: int, count: int
) -> None:
    server = programs.twistd("--port", "0", "--workers", str(count))
    pid = server.process.pid
    wait_until(lambda: catches(pid), "its handlers")
    with bombarded(number, lambda: [pid]):
        wire = connect(server.port)
        assert wire.receive() == "Hello from server"
    server.log.wait_for("up to ")
    # Rolls, where there were any, come to an end.
    assert connect(server.port).receive() == "Hello from server"
    assert server.process.poll() is None
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_from_its_first_moment_on(
    programs: Programs, connect: Connect, number: int
) -> None:
    server = programs.twistd("--port", "0", "--workers", "2")
    pid = server.process.pid
    with bombarded(number, lambda: children(pid)) as hit:
        started = workers(server)
        wait_until(lambda: set(started) <= set(hit), "a signal for each, on a busy machine")
    assert sorted(started) == sorted(hit), "none was ended, and none started in its place"
    for _ in range(4):
        assert connect(server.port).receive() == "Hello from server"
    assert "was ended by" not in server.log.text


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_daemon_from_its_pid_file_on(
    programs: Programs, connect: Connect, number: int, count: int
) -> None:
    file = programs.folder / "wsdemo.pid"

    def pids() -> list[int]:
        with contextlib.suppress(OSError, ValueError):
            return [int(file.read_text())]
        return []

    def said() -> str:
        # SIGUSR1 rotates its log.
        logs = sorted(programs.folder.glob("wsdemo.log*"))
        return "".join(Output(each).text for each in logs)

    # With each rotation twistd renames all its logs.
    with bombarded(number, pids, 0.05 if number == signal.SIGUSR1 else 0.001) as hit:
        server = programs.daemon("--port", "0", "--workers", str(count))
        wait_until(lambda: "up to " in said(), "the service")
        wait_until(lambda: hit, "a signal, on a machine that is busy")
    assert hit == [server.pid]
    assert (programs.folder / "wsdemo.log.1").exists() is (number == signal.SIGUSR1)

    ports: list[str] = []

    def found() -> list[str]:
        # Logs may be renamed meanwhile.
        ports.extend(re.findall(r" starting on (\d+)\D", said()))
        return ports

    wait_until(found, "its port")
    assert connect(int(ports[0])).receive() == "Hello from server"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_rotation_while_a_daemon_starts_moves_both_logs(
    programs: Programs, connect: Connect
) -> None:
    folder = slow(programs)
    starter = programs.start(
        *programs.daemon_command("--port", "0", "--protocol", "slow.Slow", "--message-log", "m.log")
    )
    wait_until(lambda: importing(folder), "the import")
    starter.signal(signal.SIGUSR1)
    (folder / "go").touch()
    assert starter.wait() == 0
    pid = int((folder / "wsdemo.pid").read_text())
    try:
        wait_until(lambda: " starting on " in (folder / "wsdemo.log").read_text(), "its port")
        os.rename(folder / "m.log", folder / "m.log.1")
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: (folder / "m.log").exists(), "the message log anew")
        wait_until(lambda: (folder / "wsdemo.log.1").exists(), "twistd's log, rotated")
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}/fd").exists() or not mask(pid, "SigCgt"), "it")


def test_programs_that_a_behaviour_starts_hear_them(programs: Programs, connect: Connect) -> None:
    folder = slow(programs)
    (folder / "go").touch()
    server = programs.twistd("--port", "0", "--workers", "2", "--protocol", "slow.Slow")
    wire = connect(server.port)
    wire.receive()
    wire.send("status")
    status = dict(line.split(":", 1) for line in str(wire.receive()).splitlines() if ":" in line)
    for number in (*SIGNALS, signal.SIGINT):
        assert not has(int(status["SigIgn"], 16), number)
        assert not has(int(status["SigBlk"], 16), number)
