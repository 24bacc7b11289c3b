"""The processes of an attacked server, as `/proc` has them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

KIB = 1024


class Process:
    """A running process, as `/proc` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._folder = Path(f"/proc/{pid}")

    def memory(self) -> int:
        """Octets of resident memory."""
        return self._status("VmRSS")

    def highest(self) -> int:
        """The most there were since `forget_highest`."""
        return self._status("VmHWM")

    def forget_highest(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(self._folder / "fd"))

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return (
            sum(
                int((task / "schedstat").read_text().split()[0])
                for task in (self._folder / "task").iterdir()
            )
            / 1e9
        )

    def runs(self) -> bool:
        """Return whether it has not ended."""
        with contextlib.suppress(OSError):
            return "(zombie)" not in (self._folder / "status").read_text()
        return False

    def _status(self, name: str) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * KIB
        raise AssertionError(f"no {name} of process {self.pid}")


class Service:
    """A server's process, and its workers. Figures of all are added up.

    `workers` are the process ids of its workers; none where one process serves alone.
    """

    def __init__(self, pid: int, workers: list[int]) -> None:
        self._first = Process(pid)
        self._workers = [Process(each) for each in workers]
        #: The ids of the processes that serve connections.
        self.serving = workers or [pid]
        #: Those through which a new connection passes, one after another.
        self.stages = [[pid], workers] if workers else [[pid]]

    def memory(self) -> int:
        """Return octets of resident memory."""
        return self._sum(Process.memory)

    def highest(self) -> int:
        """Return the most there were of each since `forget_highest`."""
        return self._sum(Process.highest)

    def forget_highest(self) -> None:
        """Forget the most there were."""
        for each in self._all():
            each.forget_highest()

    def descriptors(self) -> int:
        """Return how many are open."""
        return self._sum(Process.descriptors)

    def cpu(self) -> float:
        """Return the seconds of CPU time so far."""
        return sum(each.cpu() for each in self._all())

    def is_whole(self) -> bool:
        """Return whether every process that there was still runs."""
        return all(each.runs() for each in self._all())

    def _all(self) -> list[Process]:
        return [self._first, *self._workers]

    def _sum(self, figure: Callable[[Process], int]) -> int:
        return sum(figure(each) for each in self._all())


class Stopwatch:
    """Measures what a client waits for, in a server's CPU time: a busy machine does not matter.

    Each stage is the ids of processes, one of which does the work: the most that any took counts.
    Stages come one after another.
    """

    def __init__(self, *stages: list[int]) -> None:
        self._stages = [[Process(each) for each in stage] for stage in stages]
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._began = self._now()

    def seconds(self) -> float:
        """Return the seconds since it was started."""
        stages = zip(self._now(), self._began, strict=True)
        return sum(max(now - began for now, began in zip(*stage, strict=True)) for stage in stages)

    def _now(self) -> list[list[float]]:
        return [[each.cpu() for each in stage] for stage in self._stages]
