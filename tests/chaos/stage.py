"""All of it together: start, run, heal, check."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from .asking import ask
from .faults import Faults
from .ledger import Ledger, Message, Outcome
from .listeners import Client, Plain, Resuming, Speaker
from .processes import PATIENCE, START, WRONG, Node, Redis, end_all_children, until
from .proxy import Proxy
from .publishers import HttpCaller, LibraryCaller, Publisher
from .schedule import Plan

CHANNELS = ("news", "sport", "weather")

_HTTP, _LIBRARY, _SPEAKERS, _RESUMING, _PLAIN = 4, 2, 3, 9, 4
"""The number of each."""

_ROUNDS = 6
"""The most attempts to reach all clients at the end."""

_ENDING = 1.0
"""Seconds that all goes on after a violation, for what else there is to see."""

_AROUND = 12
"""Lines of a log that are shown from such a one on."""


class Stage:
    """Everything that takes part in a run."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.folder = folder
        self._say = say
        self._began = time.monotonic()
        topology = plan.topology
        self.ledger = Ledger(lossless=plan.is_lossless, forgets=topology.is_small)
        self.redis = Redis(folder, topology.keeps)
        self.proxies = [Proxy(self.redis.port) for _ in topology.workers]
        self.nodes: list[Node] = []
        self.clients: list[Client] = []
        self.publishers: list[Publisher] = []
        self.faults: Faults | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def clock(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._began

    # Start

    async def start(self) -> None:
        """Start everything, and wait until it works."""
        self.redis.start()
        await self._until(self.redis.is_ready, "Redis")
        for number, proxy in enumerate(self.proxies):
            await proxy.start()
            url = f"redis://127.0.0.1:{proxy.port}"
            self.nodes.append(Node(number, self.folder, self.plan.topology, url))
            self.nodes[-1].start()
        await self._until(self._all_are_ready, "the nodes")
        self._populate()
        for client in self.clients:
            self._run(client.run())
        await self._until(self._all_are_joined, "the clients")
        self._say(f"all is there after {self.clock():.1f} s")

    def _populate(self) -> None:
        def several(number: int) -> Sequence[str]:
            first = CHANNELS[number % len(CHANNELS)]
            other = CHANNELS[(number + 1) % len(CHANNELS)]
            return (first, other) if number % 2 else (first,)

        common = (self.ledger, self.clock)
        for number in range(_RESUMING):
            name = f"resuming-{number}"
            self.clients.append(Resuming(name, self.nodes, several(number), *common))
        for number in range(_PLAIN):
            name = f"plain-{number}"
            self.clients.append(Plain(name, self.nodes, several(number), *common))
        for number in range(_SPEAKERS):
            name = f"speaker-{number}"
            self.clients.append(Speaker(name, self.nodes, [CHANNELS[number]], *common))
        for number in range(_HTTP):
            node = self.nodes[number % len(self.nodes)]
            self.publishers.append(HttpCaller(f"http-{number}", node, CHANNELS, *common))
        for number in range(_LIBRARY):
            node = self.nodes[-1 - number % len(self.nodes)]
            self.publishers.append(LibraryCaller(f"library-{number}", node, CHANNELS, *common))
        self.faults = Faults(
            self.nodes, self.redis, self.proxies, self.clients, self.ledger, self.clock
        )

    async def _until(self, holds: Callable[[], object], what: str) -> None:
        if not await until(holds, START):
            raise TimeoutError(f"{what}: not there within {START:g} s")

    async def _all_are_ready(self) -> bool:
        return not await self._reasons()

    async def _reasons(self) -> list[str]:
        said = await asyncio.gather(*(node.why_not_ready() for node in self.nodes))
        return [each for each in said if each is not None]

    async def _all_are_joined(self) -> bool:
        return all(each.is_connected for each in self.clients) and all(
            ear.place is not None
            for each in self.clients
            for ear in each.ears.values()
            if ear.resumes
        )

    def _run(self, what: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(what)  # type: ignore[call-overload]
        self._tasks.append(task)
        return task

    # Run

    async def run(self, seconds: float) -> None:
        """Publish and do the faults, for some seconds or until a promise is broken."""
        assert self.faults is not None
        self._began = time.monotonic()
        publishing = [self._run(each.run()) for each in self.publishers]
        speaking = [self._run(each.speak()) for each in self.clients if isinstance(each, Speaker)]
        doing = self._run(self.faults.run(self.plan.faults))
        while self.clock() < seconds and not self.ledger.violations:
            await asyncio.sleep(0.2)
            self._look_after(publishing, speaking, doing)
        if self.ledger.violations:
            await asyncio.sleep(_ENDING)
        doing.cancel()
        for task in (*publishing, *speaking):
            task.cancel()
        await asyncio.gather(*publishing, *speaking, return_exceptions=True)
        if not self.ledger.violations:
            await self._heal()
        self._read_logs()
        if self.ledger.violations:
            await self._keep_figures()

    def _look_after(self, *tasks: object) -> None:
        """Raise what a task raised; note a process that ended by itself."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        for process in (self.redis, *self.nodes):
            how = process.how_it_ended()
            if how is not None:
                self.ledger.broken(self.clock(), "a process ends only when it is told to", how)

    # Heal

    async def _heal(self) -> None:
        """Check that all is well within bounded time, once there are no faults any more."""
        assert self.faults is not None
        await self.faults.over()
        began = self.clock()
        if not await until(self._all_are_ready):
            reasons = "; ".join(await self._reasons())
            self.ledger.broken(self.clock(), "all nodes are ready again", reasons)
            return
        if not await until(self._all_are_joined):
            away = ", ".join(each.name for each in self.clients if not each.is_connected)
            self.ledger.broken(self.clock(), "clients can connect again", away)
            return
        missing = await self._last_rounds()
        if missing:
            what = "; ".join(missing[:5])
            self.ledger.broken(self.clock(), "what is published then reaches all", what)
        self._say(f"healed within {self.clock() - began:.1f} s")

    async def _last_rounds(self) -> list[str]:
        """Publish until a round reaches all; return what of the last one did not.

        A worker may hear of Redis later than its parent, which is ready: of what was published
        meanwhile its clients may be told a gap, which the ledger checks.
        """
        missing: list[str] = []
        for _ in range(_ROUNDS):
            messages = await self._last_round()

            async def all_came(messages: Sequence[Message] = messages) -> bool:
                missing[:] = self._missing(messages)
                return not missing

            if self.ledger.violations or await until(all_came, PATIENCE / _ROUNDS):
                break
        return missing

    async def _last_round(self) -> list[Message]:
        """Publish on each channel, by each caller."""
        messages = []
        for publisher in self.publishers:
            for stream in publisher.streams:
                message = await publisher.publish(stream)
                messages.append(message)
                if message.outcome is not Outcome.ACCEPTED:
                    self.ledger.broken(
                        self.clock(), "what is published then is accepted", str(message)
                    )
        return messages

    def _missing(self, messages: Sequence[Message]) -> list[str]:
        """Return what did not come yet, and to whom."""
        missing = []
        for client in self.clients:
            for ear in client.ears.values():
                for message in messages:
                    stream = message.stream
                    if stream.channel != ear.channel:
                        continue
                    heard = ear.streams.get(stream.number)
                    if heard is None or heard.last < message.number:
                        missing.append(f"{ear}: {message}")
        return missing

    def _read_logs(self) -> None:
        for node in self.nodes:
            lines = node.log.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if WRONG.search(line):
                    shown = "\n    ".join(lines[max(0, number - 1) : number + _AROUND])
                    self.ledger.broken(
                        self.clock(), "no log has a traceback", f"{node.name}:\n    {shown}"
                    )
                    break

    async def _keep_figures(self) -> None:
        """Write what the nodes say of themselves beside their logs."""
        for node in self.nodes:
            for path in ("metrics", "connections", "cluster"):
                with contextlib.suppress(OSError, EOFError):
                    _, said = await ask(node.admin, "GET", f"/{path}", seconds=5)
                    (self.folder / f"{node.name}.{path}").write_text(said)

    # End

    async def end(self) -> None:
        """End everything, whatever state it is in."""
        for task in self._tasks:
            task.cancel()
        if self.faults is not None:
            self.faults.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(each.end() for each in self.nodes), self.redis.end())
        for proxy in self.proxies:
            await proxy.close()
        end_all_children()


@contextlib.asynccontextmanager
async def stage(plan: Plan, folder: Path, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Have everything started, and ended whatever happens."""
    stage = Stage(plan, folder, say)
    try:
        await stage.start()
        yield stage
    finally:
        await stage.end()
