"""The benchmarks: what they measure is the work that they say. None of this is timed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks import servers
from benchmarks import workers as shared
from benchmarks.errors import MeasurementError
from benchmarks.measuring import Bench
from benchmarks.works import WORKS, Work, scaled

from ..needs import need_program
from .processes import PATIENCE, Output, Program, Programs, free_port, wait_until
from .wire import BINARY, TEXT, frame

ROOT = Path(__file__).parents[2]
OURS = servers.ALL[0]


class Loaded:
    """The result of a run of the load generator."""

    def __init__(self, load: Path, kind: str, port: int, *arguments: object) -> None:
        self._arguments = [load, kind, "--port", port, "--timeout", 15, *arguments]
        self._done = subprocess.run(
            [str(each) for each in self._arguments],
            input="",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @property
    def result(self) -> dict[str, Any]:
        assert self._done.returncode == 0, self._done.stderr
        result: dict[str, Any] = json.loads(self._done.stdout)
        return result

    @property
    def problem(self) -> str:
        """The one line that says what went wrong."""
        assert self._done.returncode == 1, self._done.stdout
        line, end = self._done.stderr.split("\n")
        assert end == ""
        return line


def test_every_message_of_an_ingest_was_read_when_it_ends(programs: Programs, load: Path) -> None:
    server = programs.twistd("--port", "0", "--message-log", "messages.log")
    result = Loaded(load, "ingest", server.port, *_args(count=1000, connections=7, size=20)).result
    assert result["count"] == 1000
    messages = Output(programs.folder / "messages.log")
    messages.wait_for("\n", 1000)
    assert len(messages.lines) == 1000


@pytest.mark.parametrize(
    ("count", "size", "connections", "depth"),
    [(100, 16, 7, 1), (1000, 0, 3, 32), (500, 125, 2, 5), (500, 126, 2, 5), (20, 70_000, 3, 4)],
)
def test_echoes_are_counted_and_compared(
    programs: Programs, load: Path, count: int, size: int, connections: int, depth: int
) -> None:
    server = programs.twistd("--port", "0", "--protocol", "echo")
    for option in ("--check", "--binary"):
        sizes = _args(count=count, size=size, connections=connections, depth=depth)
        result = Loaded(load, "echo", server.port, *sizes, option).result
        assert result["count"] == count
        assert result["octets"] == count * size
        assert 0 < result["p50_us"] <= result["p99_us"]


def test_connections_come_and_go(programs: Programs, load: Path) -> None:
    server = programs.twistd("--port", "0")
    result = Loaded(load, "connect", server.port, *_args(count=50, connections=6)).result
    assert result["count"] == 50
    assert result["octets"] == 50 * len("Hello from server")


def test_a_broadcast_reaches_all(programs: Programs, load: Path) -> None:
    server = programs.twistd(
        *("--port", "0", "--protocol", "benchmarks.behaviours.Broadcast"),
        environment={"PYTHONPATH": str(ROOT)},
    )
    result = Loaded(load, "broadcast", server.port, *_args(count=20, connections=30)).result
    assert result["count"] == 20 * 30


def test_idle_connections_are_held_until_the_end_of_input(programs: Programs, load: Path) -> None:
    server = programs.twistd("--port", "0")
    idle = programs.start(
        *(load, "idle", "--port", str(server.port), "--connections", "40"),
        stdin=subprocess.PIPE,
    )
    idle.stdout.wait_for("\n")
    assert json.loads(idle.stdout.text) == {"open": 40}
    before = _sockets(server)
    assert before > 40
    assert idle.process.stdin
    idle.process.stdin.close()
    assert idle.wait() == 0
    wait_until(lambda: _sockets(server) == before - 40, "the server's ends")


@pytest.mark.parametrize("said", ["go\n", ""])
def test_a_line_begins_the_work_even_if_it_came_early(
    programs: Programs, load: Path, said: str
) -> None:
    port = programs.twistd("--port", "0", "--protocol", "echo").port
    counts = [str(each) for each in _args(count=30, connections=5, port=port)]
    done = subprocess.run(
        [load, "echo", "--pause", *counts],
        input=said,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"open": 5}
    assert [line["count"] for line in lines[1:]] == ([30] if said else [])


def test_what_is_wrong_is_one_line(programs: Programs, load: Path) -> None:
    greeting = programs.twistd("--port", "0", "--max-message-size", "100").port
    assert "Connection refused" in Loaded(load, "echo", free_port()).problem
    assert Loaded(load, "echo", greeting).problem == "load: an answer of 17 octets to one of 16"
    assert "with 1009" in Loaded(load, "ingest", greeting, "--size", 101).problem
    assert "400" in Loaded(load, "echo", greeting, "--path", "/a\x7fb").problem
    assert "does not compress" in Loaded(load, "echo", greeting, "--deflate", __file__).problem
    assert "--count: many is not" in Loaded(load, "echo", greeting, "--count", "many").problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (frame(TEXT, b"sixteen octets..", masked=False), "not what was sent"),
        (frame(BINARY, b"sixteen octets..", masked=False), "an answer with opcode 2"),
        (frame(TEXT, b"sixteen octets..", masked=True), "a masked frame"),
        (b"", "ended before the work was done"),
    ],
    ids=["contents", "opcode", "masked", "end"],
)
def test_a_wrong_answer_is_one_line(
    programs: Programs, load: Path, answer: bytes, problem: str
) -> None:
    program = (
        "import socket\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "made, _ = listener.accept()\n"
        "made.recv(10000)\n"
        "made.sendall(b'HTTP/1.1 101 Yes\\r\\nSec-WebSocket-Accept: x\\r\\n\\r\\n')\n"
        "made.recv(10000)\n"
        f"made.sendall({answer!r})\n"
        "made.close()\n"
    )
    server = programs.start(sys.executable, "-c", program)
    server.stdout.wait_for("\n")
    assert problem in Loaded(load, "echo", int(server.stdout.text), "--check").problem


def test_a_server_that_says_nothing_is_not_waited_for(programs: Programs, load: Path) -> None:
    server = programs.twistd("--port", "0", "--greeting", "")
    assert Loaded(load, "connect", server.port, "--timeout", 1).problem.startswith(
        "load: timed out after 1 s"
    )


@pytest.mark.parametrize("work", WORKS, ids=[work.name for work in WORKS])
def test_every_work_is_done_and_checked(tmp_path: Path, load: Path, work: Work) -> None:
    if work.tls:
        need_program("openssl")
    bench = Bench(tmp_path, load, scale=0.001, warm_up=0)
    work = scaled(work, bench.scale)
    first = bench.measure(work, OURS, OURS)
    assert first.cost > 0
    # Of the connections, there are ten or all.
    if work.memory:
        assert first.count == 10
    elif work.kind == "broadcast":
        assert first.count % 10 == 0
        assert first.count >= 10
    else:
        assert first.count >= work.connections
        assert bench.counts[work.name, OURS.name] == first.count


def test_a_server_that_does_not_start_is_one_line(tmp_path: Path, load: Path) -> None:
    broken = servers.Server(
        "broken", "broken", lambda start: [sys.executable, "-c", "exit('no such thing')"], list
    )
    with pytest.raises(MeasurementError, match=r"^broken did not start: no such thing$"):
        Bench(tmp_path, load).measure(WORKS[0], broken, OURS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_server_outlives_the_driver(programs: Programs, load: Path, number: int) -> None:
    driver = programs.start(
        *(sys.executable, "-m", "benchmarks", "echo-1"),
        *("--servers", "wsservice", "--rounds", "1", "--scale", "50"),
        environment={"PYTHONPATH": str(ROOT)},
    )
    # The server, and what puts load on it.
    wait_until(lambda: len(_children(driver)) == 2, "the server and the load")
    children = _children(driver)
    driver.signal(number)
    assert driver.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_until(lambda: not any(_runs(pid) for pid in children), "their end")
    if number != signal.SIGKILL:
        assert driver.stderr.text == "\nbenchmarks: interrupted; every process was ended\n"


def _args(**given: int) -> list[object]:
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def _sockets(program: Program) -> int:
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def _children(program: Program) -> list[int]:
    pid = program.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        # Whoever was given the orphan may not have waited for it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("count", [1, 2])
def test_workers_do_the_work_that_is_measured(load: Path, tmp_path: Path, count: int) -> None:
    task = attrs.evolve(shared.LOADS[1], count=200, connections=4)
    rate, cost = shared.sample(task, count, tmp_path, load)
    assert rate > 0
    assert cost > 0
    assert len(shared.started(tmp_path)) == (count if count > 1 else 0)


def test_a_caller_is_greeted_or_tells_that_it_was_not(tmp_path: Path) -> None:
    with shared.service(tmp_path, 1, "greeting") as (port, _):
        shared.call(port)
    with pytest.raises(OSError, match="refused"):
        shared.call(port)
    with shared.service(tmp_path, 1, "echo") as (port, pid), shared.Callers(port) as callers:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: callers.refused, "a caller to be refused")


def test_the_document_is_a_chapter_of_the_manual() -> None:
    assert shared.HEADING in shared.DOCUMENT.read_text()
