"""Takes a sample each second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import attrs

from .samples import Said, Sample, lag_between, said
from .world import World

_KIB = 1024


class Watcher:
    """Samples the service of a world and keeps the samples."""

    def __init__(self, world: World) -> None:
        self.samples: list[Sample] = []
        self.wrong_lines: list[str] = []
        self._world = world
        self._service = world.service
        self._tally = world.tally
        self._clock = world.clock
        self._said: Said | None = None
        self._at = 0.0
        self._cpu = 0.0
        self._own = 0.0

    def load_begins(self) -> Sample:
        """Have the times of the samples so far end at 0, and return the last one."""
        now = self._clock()
        self.samples = [attrs.evolve(each, at=round(each.at - now, 2)) for each in self.samples]
        return self.samples[-1]

    async def run(self, every: float) -> None:
        """Take samples until cancelled. Failures go to the tally."""
        while True:
            due = time.monotonic() + every
            begun = self._clock()
            try:
                await self.sample()
            except Exception as error:
                self._world.failed("scrape", begun, error)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def sample(self) -> Sample:
        """Take one sample. Raises `OSError`, `EOFError` or `ValueError`."""
        status, text = await self._world.ask(self._service.admin, "GET", "/metrics")
        if status != 200:
            raise ValueError(f"/metrics answered {status}")
        answer = said(text)
        before, self._said = self._said or answer, answer
        mean, worst = lag_between(before, answer)
        pids = self._service.pids
        memory = [_memory(pid) for pid in pids]
        now, cpu, own = time.monotonic(), sum(map(_cpu, pids)), time.process_time()
        passed = now - self._at
        self.wrong_lines += self._service.wrong_lines()
        made = Sample(
            at=round(self._clock(), 2),
            rss=sum(rss for rss, _ in memory),
            uss=sum(uss for _, uss in memory),
            descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            connections=answer.connections,
            lag_mean=mean,
            lag_worst=worst,
            cpu=(cpu - self._cpu) / passed if self._at else 0.0,
            own_cpu=(own - self._own) / passed if self._at else 0.0,
            accepted=answer.accepted,
            messages=answer.messages,
            history=answer.history,
            message_memory=answer.message_memory,
            channels=answer.channels,
            workers_lost=answer.workers_lost,
            honest=self._tally.honest,
            hostile=self._tally.hostile,
            failures=self._tally.failures_so_far,
            wrong=len(self.wrong_lines),
            own_lag=self._world.own_lag,
        )
        self._world.own_lag = 0.0
        self._at, self._cpu, self._own = now, cpu, own
        self.samples.append(made)
        return made


def _memory(pid: int) -> tuple[int, int]:
    """Return the octets of a process's resident memory, and those of it that it shares with none.

    The latter is 0 where the kernel does not say.
    """
    rss = uss = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            rss = int(line.split()[1]) * _KIB
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                uss += int(line.split()[1]) * _KIB
    return rss, uss


def _cpu(pid: int) -> float:
    """Return the seconds of CPU time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
