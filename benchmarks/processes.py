"""Programs: started, measured through /proc, and ended whatever happens."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .errors import MeasurementError

ROOT = Path(__file__).parents[1]

# In the program's own process, and not between fork and exec of this one, where Python
# loses the exceptions that signals raise. 1 is PR_SET_PDEATHSIG, 9 SIGKILL.
_BIND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
_BOUND = (sys.executable, "-I", "-S", "-c", _BIND)
"""Runs a program that is killed when this process, whose id follows, ends."""

_FOLDERS = re.compile(r"/(?:[^\s/'\":|]+/)+")
"""The folder of a file on this machine, without the file's name."""

_QUIET = 0.0005
"""Seconds of CPU time in a step, below which a process is at rest."""
_STEP = 0.02


@functools.cache
def cores() -> tuple[set[int], set[int]]:
    """The cores for what is measured, and for what puts load on it: one each if there are two.

    The first and the last of those that this process had at first, which on most
    machines are no siblings.
    """
    mine = sorted(os.sched_getaffinity(0))
    return ({mine[0]}, {mine[-1]}) if len(mine) > 1 else (set(mine), set(mine))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A running process, as /proc has it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """Seconds of CPU time so far, of all its threads."""
        return sum(self._thread(task) for task in (self._folder / "task").iterdir()) / 1e9

    @staticmethod
    def _thread(task: Path) -> int:
        try:
            return int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # it ended meanwhile
            return 0

    def settled_cpu(self, patience: float = 5.0) -> float:
        """The same, once it is at rest: what it put off counts too."""
        deadline = time.monotonic() + patience
        before = self.cpu()
        quiet = 0
        while quiet < 2 and time.monotonic() < deadline:
            time.sleep(_STEP)
            after = self.cpu()
            quiet = quiet + 1 if after - before < _QUIET else 0
            before = after
        return before

    def memory(self) -> int:
        """Octets of resident memory."""
        for line in (self._folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise MeasurementError("the kernel does not say how much memory a process has")


@contextlib.contextmanager
def _on(where: set[int]) -> Iterator[None]:
    """Start processes on these cores within the context."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    arguments: Sequence[str | Path],
    folder: Path,
    name: str,
    where: set[int],
    environment: Mapping[str, str] | None = None,
    talks: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """A program on some cores, ended with the block, and with this process if that is killed.

    Its output goes to the files `name`.stdout and `name`.stderr in a folder. One
    that `talks` has pipes for input and output.
    """
    with (
        _on(where),
        (folder / f"{name}.stdout").open("wb") as out,
        (folder / f"{name}.stderr").open("wb") as err,
    ):
        process = subprocess.Popen(
            [*_BOUND, str(os.getpid()), *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else out,
            stderr=err,
            text=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    for end in (process.terminate, process.kill):
        if process.poll() is None:
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def last_words(folder: Path, name: str) -> str:
    """The last line that a program wrote before it ended, for people.

    It may stand on the page: without the folders of this machine, in one cell of a table.
    """
    for kind in ("stderr", "stdout"):
        lines = (folder / f"{name}.{kind}").read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        if said:
            return _FOLDERS.sub("", said[-1]).replace("|", "/")[:300]
    return "it said nothing"


def wait_for_port(port: int, process: subprocess.Popen[str], patience: float = 20.0) -> bool:
    """Wait until a program listens; False when it ended, or takes too long."""
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False
