"""`python -m tests.conformance`: every case, both directions, one summary."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wsservice.config.fields import option_name

from ..integration.processes import free_port
from .suite import NoSuiteError, Suite, find
from .summary import Direction, markdown, read, table

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "conformance-reports"
DOCUMENT = ROOT / "docs" / "conformance.md"
ENVIRONMENT = ROOT / ".venv-wstest"

AGENT = "wsservice"
ALL = ("*",)
TOTAL = 517
"""The number of cases in the suite. A suite that silently lost some must not pass."""

# Names of groups and cases are prefixes to the suite: 12.1.1 is 12.1.10 too.
QUICK = (
    *(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    *("12.1.2", "12.2.3", "12.3.4", "12.4.5", "12.5.6"),
    *("13.1.2", "13.2.3", "13.3.4", "13.4.5", "13.5.6", "13.6.7", "13.7.8"),
)

# As shipped but for these: case 9.1.6 sends 16 MiB, case 9.3.1 65,536 fragments.
LIMITS = {"compression": "on", "max_message_size": 33554432, "max_fragments": 65536}
SERVER = ("--protocol", "echo", *(w for n, v in LIMITS.items() for w in (option_name(n), str(v))))

_LONGEST = 3600.0
"""Seconds after which a run is given up."""


class GaveUpError(Exception):
    """A program that the run needs did not do its part."""


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block, whatever ends that."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise GaveUpError(f"{process.args!r} does not listen on port {port}")


class Progress:
    """One line that tells how far both directions are."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done: dict[str, int] = {}
        self._terminal = sys.stdout.isatty()
        self._lock = threading.Lock()

    def step(self, name: str) -> None:
        """One more case of a direction has begun or ended."""
        with self._lock:
            self._done[name] = done = self._done.get(name, 0) + 1
            text = ", ".join(f"{each} {self._done[each]}" for each in self._done)
            if self._terminal:
                print(f"\r{text} of {self._total} cases ", end="", flush=True)
            elif done % 50 == 0 or done == self._total:
                print(f"{text} of {self._total} cases", flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._done:
            print(flush=True)


def _follow(process: subprocess.Popen[str], pattern: str, name: str, progress: Progress) -> None:
    """Read what a process prints to its end, counting the lines that match."""
    deadline = threading.Timer(_LONGEST, process.kill)
    deadline.start()
    last = ""
    try:
        assert process.stdout
        for line in process.stdout:
            last = line.strip() or last
            if re.match(pattern, line):
                progress.step(name)
        if process.wait():
            raise GaveUpError(f"{name}: ended with status {process.returncode}, {last}")
    finally:
        deadline.cancel()


def _start_server(stack: contextlib.ExitStack) -> str:
    port = free_port()
    log = stack.enter_context(open(REPORTS / "server.log", "w"))  # noqa: SIM115
    twistd = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "wsdemo"]
    server = subprocess.Popen(
        [*twistd, "--listen", f"tcp:{port}:interface=127.0.0.1", *SERVER],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    stack.enter_context(running(server))
    _wait_for(port, server)
    return f"ws://127.0.0.1:{port}"


def _start_fuzzing_server(stack: contextlib.ExitStack, suite: Suite, cases: Sequence[str]) -> str:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    spec: dict[str, object] = {
        "url": url,
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    process = stack.enter_context(running(suite.run("fuzzingserver", spec, REPORTS / "client")))
    # What it prints is read, so that it is never held up by a full pipe.
    assert process.stdout
    threading.Thread(target=_drop, args=(process.stdout,), daemon=True).start()
    _wait_for(port, process)
    return url


def _drop(stream: Any) -> None:
    with contextlib.suppress(ValueError):  # it is closed under us when the process is ended
        for _ in stream:
            pass


def _testee(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.testee", url, "--agent", AGENT, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _count(url: str) -> int:
    """How many cases were asked for: the suite itself says."""
    with running(_testee(url, "--count")) as process:
        said, _ = process.communicate(timeout=60)
    if process.returncode:
        raise GaveUpError(f"the suite does not say how many cases it has: {said.strip()[-200:]}")
    return int(said)


def run(suite: Suite, cases: Sequence[str], url: str | None) -> list[Direction]:
    """Run the cases against our server and our client at once, or against another server."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir()
    problems: list[Exception] = []
    with contextlib.ExitStack() as stack:
        fuzzing = _start_fuzzing_server(stack, suite, cases)
        expected = _count(fuzzing)
        progress = Progress(expected)
        server = url or _start_server(stack)
        spec: dict[str, object] = {
            "servers": [{"agent": AGENT, "url": server}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        as_server = stack.enter_context(
            running(suite.run("fuzzingclient", spec, REPORTS / "server"))
        )
        follow = [(as_server, r"Running test case ID ", "server")]
        if url is None:
            as_client = stack.enter_context(
                running(_testee(fuzzing, "--settings", json.dumps(LIMITS)))
            )
            follow.append((as_client, r"case \d+ of ", "client"))

        def watch(process: subprocess.Popen[str], pattern: str, name: str) -> None:
            try:
                _follow(process, pattern, name, progress)
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=watch, args=each, daemon=True) for each in follow]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        progress.end()
    for problem in problems:
        print(problem, file=sys.stderr)
    return [read(name, AGENT, REPORTS / name, expected) for _, _, name in follow]


def _document(suite: Suite, directions: Sequence[Direction]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("wsservice", "autobahn", "twisted"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return "\n".join(
        [
            "# Conformance",
            "",
            f"`make conformance` ran all cases of the Autobahn testsuite on {today}.",
            "",
            f"- Tested: {versions}, {python}.",
            f"- The suite: {suite.version()}.",
            f"- The server: `twistd wsdemo {' '.join(SERVER)}`.",
            "- The client: `wsservice.client` with the same settings.",
            "- All other settings have their defaults.",
            "",
            "A case passes if the suite calls both its behaviour and its close behaviour OK",
            "or INFORMATIONAL; NON-STRICT counts as a failure.",
            "",
            *(markdown(direction) for direction in directions),
        ]
    )


def main() -> int:
    """The exit status: 0 if every case is OK or INFORMATIONAL, 1 if not, 2 where it cannot run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run the Autobahn testsuite against wsservice, as server and as client.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="groups 1 to 10, a sample of 12 and 13"
    )
    parser.add_argument(
        "--url", help="test the server at this ws:// URL instead of our own two ends"
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a group or case: 7.* or 12.1.3")
    given = parser.parse_args()
    cases = tuple(given.cases) or (QUICK if given.quick else ALL)

    def terminated(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)
    try:
        suite = find(ENVIRONMENT)
        directions = run(suite, cases, given.url)
    except (NoSuiteError, GaveUpError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nconformance: interrupted; every process was ended", file=sys.stderr)
        return 130
    for direction in directions:
        print(table(direction), end="\n\n")
    print("reports: " + ", ".join(f"{REPORTS}/{each.name}/index.html" for each in directions))
    whole = cases == ALL and given.url is None
    passed = all(direction.passed for direction in directions) and not (
        cases == ALL and any(direction.expected != TOTAL for direction in directions)
    )
    if whole:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(_document(suite, directions))
        print(f"written: {DOCUMENT}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
