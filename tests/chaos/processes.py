"""Nodes and Redis as processes: started, stopped, killed, by their pids."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..integration.processes import BIN, free_port
from ..integration.redis import Asking, program
from .asking import ask
from .schedule import Topology

ROOT = Path(__file__).parents[2]

PATIENCE = 60.0
"""Seconds that a recovery may take on a busy machine."""

START = 180.0
"""Seconds that a start may take: where other tests run beside it, many processes start at once."""

WRONG = re.compile(r"Traceback|Unhandled|#critical|\[critical\]|MemoryError")
"""Matches text that no log of a service may have."""

_PDEATHSIG, _SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)


def adopt_orphans() -> None:
    """Have this process be given the workers whose parent is killed, so that it can end them."""
    _libc.prctl(_SUBREAPER, 1, 0, 0, 0)


def _end_with_us() -> None:
    _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, as they came."""
    with contextlib.suppress(OSError):
        said = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in said.split()]
    return []


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Process:
    """A program that can be killed and started again. Its output goes to the end of a file.

    `environment` has variables beside those of this process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.lock = asyncio.Lock()
        self._arguments = [str(each) for each in arguments]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._environment.update(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its pid, 0 where it does not run."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it. It does not outlive this process."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_us,
            )

    def how_it_ended(self) -> str | None:
        """Return how it ended, if it did so by itself."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"{self.name} ended by itself, with status {self._process.returncode}"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def end(self) -> None:
        """End it, politely first."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.send_signal(signal.SIGCONT)
            try:
                await asyncio.to_thread(process.wait, 8)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)


class Redis(Process):
    """A real server, which keeps all or nothing."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self.port = free_port()
        self.keeps = keeps
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if keeps else []
        kept = kept or ["--appendonly", "no"]
        where = [
            "--port",
            f"{self.port}",
            "--bind",
            "127.0.0.1",
            "--dir",
            f"{folder}",
            "--save",
            "",
        ]
        super().__init__("redis", folder, [program(), *where, *kept])

    async def ask(self, *words: str) -> Any:
        """Ask it one thing, by no proxy. Raises `OSError`."""
        return await asyncio.to_thread(self._ask, words)

    def _ask(self, words: Sequence[str]) -> Any:
        asking = Asking(self.port)
        try:
            return asking.ask(*words)
        finally:
            asking.end()

    async def is_ready(self) -> bool:
        """Return whether it answers."""
        with contextlib.suppress(OSError):
            return not str(await self.ask("PING")).startswith("LOADING")
        return False


class Node(Process):
    """A service among others."""

    def __init__(self, number: int, folder: Path, topology: Topology, broker: str) -> None:
        self.number = number
        self.port, self.admin = free_port(), free_port()
        self.workers = topology.workers[number]
        #: Whether it was ready since it was started: before, no signals are for it.
        self.was_ready = False
        super().__init__(
            f"node-{number}",
            folder,
            [
                *(BIN / "twistd", "-n", f"--pidfile=node-{number}.pid"),
                *("wsdemo", "--listen", f"tcp:{self.port}:interface=127.0.0.1"),
                *("--admin", f"tcp:{self.admin}:interface=127.0.0.1"),
                *("--protocol", "tests.chaos.behaviours.Speaking", "--drain", "2"),
                *("--workers", str(self.workers), "--broker", broker),
                *("--history", topology.history, "--broker-buffer", str(topology.buffer)),
                *("--send-buffer", "65536"),
            ],
        )

    def start(self) -> None:
        self.was_ready = False
        # A node that was killed left the file; its pid may be another program's now.
        (self.folder / f"{self.name}.pid").unlink(missing_ok=True)
        super().start()

    @property
    def worker_pids(self) -> list[int]:
        """The pids of its workers; none where it has but one process."""
        return children(self.pid) if self.pid and self.workers > 1 else []

    async def why_not_ready(self) -> str | None:
        """Return why it is not ready; None where it is."""
        try:
            status, said = await ask(self.admin, "GET", "/readyz", seconds=3)
        except (OSError, EOFError) as error:
            return f"{self.name} does not answer: {type(error).__name__} {error}"
        if status != 200:
            return f"{self.name}: {status} {said.strip()}"
        self.was_ready = True
        return None


async def until(holds: Any, seconds: float = PATIENCE) -> bool:
    """Wait until a coroutine function returns true; false where it takes too long."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not await holds():
        if clock() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


def end_all_children() -> None:
    """End what is left: workers that outlived their parent, and whatever else there is."""
    for pid in children(os.getpid()):
        for child in children(pid):
            send(child, signal.SIGKILL)
        send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
