"""All of it together: start, load, cooling, verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from ..chaos.processes import START, end_all_children, until
from . import honest, hostile
from .samples import Sample
from .schedule import Act
from .service import Service
from .tally import Tally
from .verdict import Run
from .watching import Watcher
from .world import PATIENCE, World

DOING = honest.ACTS | hostile.ACTS
"""The functions of the kinds of act."""

_CALM = 3
"""Samples before the load begins, and at least so many after it."""

_EVERY = 1.0
"""Seconds from one sample to the next."""

_LONGEST = 2 * PATIENCE
"""Seconds that an act may take beside its own time: some wait twice for the service."""

_AT_ONCE = 200
"""Acts that go on at once. With more, a machine that is too busy would fall behind for good."""

_MOST_SAMPLES = 3600
"""A longer run is sampled less often, so that its chart does not grow."""


class Stage:
    """A service, the load on it, and the one who watches it."""

    def __init__(self, folder: Path, workers: int, say: Callable[[str], None]) -> None:
        self.service = Service(folder, workers)
        self.tally = Tally()
        self._say = say
        self._began = time.monotonic()
        self._world = World(self.service, self.tally, self.clock, say)
        self._watcher = Watcher(self._world)
        self._acts: set[asyncio.Task[None]] = set()
        self._ended = ""

    def clock(self) -> float:
        """Return the seconds since the load began."""
        return time.monotonic() - self._began

    async def start(self) -> None:
        """Start the service. Raises `TimeoutError` if it is not ready in time."""
        self.service.start()
        if not await until(self._is_ready_or_over, START) or self.service.how_it_ended():
            said = self.service.how_it_ended() or "it is not ready"
            raise TimeoutError(f"the service did not start: {said}")

    async def _is_ready_or_over(self) -> bool:
        return self.service.how_it_ended() is not None or await self.service.is_ready()

    async def run(self, seed: int, acts: Sequence[Act], seconds: float) -> Run:
        """Load the service with acts for some seconds, let it cool, and return all that was seen.

        Ends early if the service does.
        """
        await self._calm(lambda _: True)
        before = self._watcher.load_begins()
        self._began = time.monotonic()
        every = max(_EVERY, seconds / _MOST_SAMPLES)
        watching = asyncio.gather(self._watcher.run(every), self._world.watch_itself())
        try:
            await self._load(acts, seconds)
            await self._finish()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        after = self._watcher.samples[-1] if self._watcher.samples else before
        if not self._ended:
            after = await self._calm(lambda now: _is_as(before, now))
        return Run(
            seed=seed,
            workers=self.service.workers,
            seconds=seconds,
            samples=tuple(self._watcher.samples),
            before=before,
            after=after,
            failures=tuple(map(str, self.tally.failures)),
            failed=dict(self.tally.failed),
            wrong_lines=tuple(self._watcher.wrong_lines),
            ended=self._ended,
            server_errors=self.tally.server_errors,
            given_up=self.tally.given_up,
            let_go=self.tally.let_go,
            stood_still=self.tally.stood_still,
            left_out=self.tally.left_out,
            done=dict(self.tally.done),
        )

    async def _calm(self, enough: Callable[[Sample], bool]) -> Sample:
        """Take samples without any load until one is enough, or for long; return the last one."""
        deadline = time.monotonic() + PATIENCE
        taken = 0
        while True:
            sample = await self._watcher.sample()
            taken += 1
            if (taken >= _CALM and enough(sample)) or time.monotonic() > deadline:
                return sample
            await asyncio.sleep(_EVERY)

    async def _load(self, acts: Sequence[Act], seconds: float) -> None:
        """Begin each act at its time, or later if many go on; leave out what comes too late."""
        said = time.monotonic()
        for place, act in enumerate(acts):
            while (wait := act.at - self.clock()) > 0 and not self._is_over():
                await asyncio.sleep(min(wait, _EVERY))
            while len(self._acts) >= _AT_ONCE and not self._is_over():
                await asyncio.wait(self._acts, timeout=_EVERY, return_when=asyncio.FIRST_COMPLETED)
            if self._is_over():
                return
            if self.clock() >= seconds:
                self.tally.left_out = len(acts) - place
                return
            task = asyncio.ensure_future(self._do(act))
            self._acts.add(task)
            task.add_done_callback(self._acts.discard)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                self._say(self._progress())
        while (wait := seconds - self.clock()) > 0 and not self._is_over():
            await asyncio.sleep(min(wait, _EVERY))

    def _is_over(self) -> bool:
        self._ended = self._ended or self.service.how_it_ended() or ""
        return bool(self._ended)

    def _progress(self) -> str:
        last = self._watcher.samples[-1]
        return (
            f"{last.at:.0f} s: {last.rss / 2**20:.1f} MiB, {last.descriptors} descriptors,"
            f" {last.connections} connections, {last.honest} honest acts, {last.hostile} hostile,"
            f" {last.failures} failures"
        )

    async def _finish(self) -> None:
        """Wait for the acts that are not over; each has its time."""
        while self._acts and not self._is_over():
            await asyncio.wait(self._acts, timeout=_EVERY)

    async def _do(self, act: Act) -> None:
        """Do an act, and count it."""
        doing = DOING[act.kind]
        begun = self.clock()
        try:
            async with asyncio.timeout(act.seconds + _LONGEST):
                await doing(self._world, random.Random(act.dice), act.seconds)
        except Exception as error:
            self._world.failed(act.kind, begun, error)
        else:
            self.tally.done[act.kind] += 1

    async def end(self) -> None:
        """End everything, whatever state it is in."""
        acts = tuple(self._acts)
        for task in acts:
            task.cancel()
        # Before they are waited for: some of them still shake hands with it.
        await self.service.end()
        await asyncio.gather(*acts, return_exceptions=True)
        end_all_children()


def _is_as(before: Sample, now: Sample) -> bool:
    """Return whether nothing is left of the load."""
    return (
        now.connections <= before.connections
        and now.descriptors <= before.descriptors
        and now.message_memory <= before.message_memory
    )


@contextlib.asynccontextmanager
async def stage(folder: Path, workers: int, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Have the service started, and ended whatever happens."""
    made = Stage(folder, workers, say)
    try:
        await made.start()
        yield made
    finally:
        await made.end()
