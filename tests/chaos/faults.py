"""The damage that each fault does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from .ledger import Ledger
from .listeners import Client
from .processes import Node, Redis, children, send
from .proxy import Proxy
from .publishers import Clock
from .schedule import KINDS, LOSING, Fault

_PLACES, _STREAM, _SEEN = "wsservice:places", "wsservice:stream:{%s}", "wsservice:seen:*"
"""Names of docs/broker.md."""

_DELAYS = (0.02, 0.3)
"""Seconds by which what passes to Redis is slower, from and to."""

_FLUSHES = 0.01
"""Seconds from one SCRIPT FLUSH to the next."""


class Faults:
    """Does what a schedule says, to what there is then."""

    def __init__(
        self,
        nodes: Sequence[Node],
        redis: Redis,
        proxies: Sequence[Proxy],
        clients: Sequence[Client],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._nodes = nodes
        self._redis = redis
        self._proxies = proxies
        self._clients = clients
        self._ledger = ledger
        self._clock = clock
        #: The number of faults done, by kind.
        self.done: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Processes that stand still.
        self._stopped: set[int] = set()

    async def run(self, faults: Sequence[Fault]) -> None:
        """Do each at its time, beside those that last."""
        for fault in faults:
            await asyncio.sleep(fault.at - self._clock())
            task = asyncio.create_task(self._do(fault))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def over(self) -> None:
        """Wait until none lasts any more. Raises what one of them raised."""
        await asyncio.gather(*self._tasks)

    def end(self) -> None:
        """Have all that stands still go on."""
        for pid in self._stopped:
            send(pid, signal.SIGCONT)

    async def _do(self, fault: Fault) -> None:
        await DOING[fault.kind](self, fault, random.Random(fault.dice))

    def _note(self, fault: Fault, what: str) -> None:
        self.done[fault.kind] += 1
        loses = fault.kind in LOSING or (fault.kind == "kill-redis" and not self._redis.keeps)
        self._ledger.fault(self._clock(), f"{fault}: {what}", loses=loses)

    # Processes

    async def _kill_node(self, fault: Fault, dice: random.Random) -> None:
        node = dice.choice(self._nodes)
        async with node.lock:
            self._note(fault, node.name)
            await node.kill()
            await asyncio.sleep(fault.seconds)
            node.start()

    async def _kill_redis(self, fault: Fault, _dice: random.Random) -> None:
        async with self._redis.lock:
            self._note(fault, "Redis")
            await self._redis.kill()
            await asyncio.sleep(fault.seconds)
            self._redis.start()

    def _worker(self, dice: random.Random) -> int:
        """Return the pid of a worker; 0 where there is none now."""
        pids = [pid for node in self._nodes for pid in node.worker_pids]
        return dice.choice(pids) if pids else 0

    async def _kill_worker(self, fault: Fault, dice: random.Random) -> None:
        await self._signal_worker(fault, dice, signal.SIGKILL)

    async def _leave(self, fault: Fault, dice: random.Random) -> None:
        await self._signal_worker(fault, dice, signal.SIGTERM)

    async def _signal_worker(self, fault: Fault, dice: random.Random, number: int) -> None:
        if pid := self._worker(dice):
            self._note(fault, f"worker {pid}")
            send(pid, number)

    async def _stop_worker(self, fault: Fault, dice: random.Random) -> None:
        if pid := self._worker(dice):
            self._note(fault, f"worker {pid}")
            await self._stand_still([pid], fault.seconds)

    async def _stop_node(self, fault: Fault, dice: random.Random) -> None:
        node = dice.choice(self._nodes)
        if node.pid:
            self._note(fault, node.name)
            await self._stand_still([node.pid, *children(node.pid)], fault.seconds)

    async def _stop_parent(self, fault: Fault, dice: random.Random) -> None:
        node = dice.choice(self._nodes)
        if node.pid:
            self._note(fault, node.name)
            await self._stand_still([node.pid], fault.seconds)

    async def _stop_redis(self, fault: Fault, _dice: random.Random) -> None:
        if self._redis.pid:
            self._note(fault, "Redis")
            await self._stand_still([self._redis.pid], fault.seconds)

    async def _stand_still(self, pids: Sequence[int], seconds: float) -> None:
        for pid in pids:
            self._stopped.add(pid)
            send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            for pid in pids:
                self._stopped.discard(pid)
                send(pid, signal.SIGCONT)

    async def _roll(self, fault: Fault, dice: random.Random) -> None:
        await self._signal_node(fault, dice, signal.SIGUSR2)

    async def _reload(self, fault: Fault, dice: random.Random) -> None:
        await self._signal_node(fault, dice, signal.SIGHUP)

    async def _reopen(self, fault: Fault, dice: random.Random) -> None:
        await self._signal_node(fault, dice, signal.SIGUSR1)

    async def _signal_node(self, fault: Fault, dice: random.Random, number: int) -> None:
        node = dice.choice(self._nodes)
        if node.pid and node.was_ready:
            self._note(fault, node.name)
            node.signal(number)

    # Redis

    async def _ask_redis(self, fault: Fault, *words: str) -> None:
        with contextlib.suppress(OSError):  # it is not there
            # Noted before: a loss may be told before the answer is here.
            self._note(
                fault, " ".join(word[:40] for word in words).encode("unicode_escape").decode()
            )
            await self._redis.ask(*words)

    async def _flushall(self, fault: Fault, _dice: random.Random) -> None:
        await self._ask_redis(fault, "FLUSHALL")

    async def _script_flush(self, fault: Fault, _dice: random.Random) -> None:
        self._note(fault, "SCRIPT FLUSH")
        until = self._clock() + fault.seconds
        with contextlib.suppress(OSError):  # it is not there
            await self._redis.ask("SCRIPT", "FLUSH")
            while self._clock() < until:
                await asyncio.sleep(_FLUSHES)
                await self._redis.ask("SCRIPT", "FLUSH")

    async def _spoil(self, fault: Fault, dice: random.Random) -> None:
        value = dice.choice(("x" * 200, "1\n", "", "9" * 30))
        with contextlib.suppress(OSError):
            if dice.random() < 0.5:
                fields = ["count", "forgotten", "octets", _STREAM % "news"]
                if not value.isdigit():
                    fields.append("id")  # which may well be digits, but not the same twice
                field = dice.choice(fields)
                await self._ask_redis(fault, "HSET", _PLACES, field, value)
            elif seen := await self._redis.ask("KEYS", _SEEN):
                await self._ask_redis(fault, "SET", dice.choice(sorted(seen)).decode(), value)

    async def _client_kill(self, fault: Fault, dice: random.Random) -> None:
        await self._ask_redis(fault, "CLIENT", "KILL", "TYPE", dice.choice(("normal", "pubsub")))

    async def _cut(self, fault: Fault, dice: random.Random) -> None:
        await asyncio.gather(*(each.cut(fault.seconds) for each in self._ways(fault, dice)))

    async def _hang(self, fault: Fault, dice: random.Random) -> None:
        await asyncio.gather(*(each.hang(fault.seconds) for each in self._ways(fault, dice)))

    async def _slow(self, fault: Fault, dice: random.Random) -> None:
        delay = dice.uniform(*_DELAYS)
        ways = self._ways(fault, dice)
        await asyncio.gather(*(each.slow(fault.seconds, delay) for each in ways))

    async def _swallow(self, fault: Fault, dice: random.Random) -> None:
        await asyncio.gather(*(each.swallow(fault.seconds) for each in self._ways(fault, dice)))

    def _ways(self, fault: Fault, dice: random.Random) -> Sequence[Proxy]:
        """Return that of one node, or all."""
        which = dice.choice((*range(len(self._proxies)), None))
        self._note(fault, "all nodes" if which is None else f"node-{which}")
        return self._proxies if which is None else [self._proxies[which]]

    # Clients

    async def _cut_client(self, fault: Fault, dice: random.Random) -> None:
        chosen = self._some_clients(fault, dice)
        for each in chosen:
            each.cut()

    async def _stall_client(self, fault: Fault, dice: random.Random) -> None:
        for each in self._some_clients(fault, dice):
            each.stall(self._clock() + fault.seconds)

    def _some_clients(self, fault: Fault, dice: random.Random) -> Sequence[Client]:
        chosen = dice.sample(self._clients, dice.randint(1, max(1, len(self._clients) // 3)))
        self._note(fault, ", ".join(each.name for each in chosen))
        return chosen


DOING: dict[str, Callable[[Faults, Fault, random.Random], Awaitable[None]]] = {
    kind: getattr(Faults, "_" + kind.replace("-", "_")) for kind in KINDS
}
"""The method that does each kind of fault."""
