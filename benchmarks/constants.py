"""The figures of the model: what one process and one Redis need for each thing they do."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from wsservice.scaling.figures import MeasuredCosts

from . import broker, machine
from .asking import publish
from .errors import BenchmarkError
from .loading import Load
from .nodes import CHANNEL, Node, listening, node
from .processes import Process, running

_IDLE = 5000
_CHANNELS = 200
_MANY = 500
_RAW = 32
"""How many connections, channels, listeners, and subscribers of this program's own."""

_SMALL, _LARGE = 128, 4096
"""Octets of messages: what more the large ones take is taken for each octet."""

_SLABS = ("TCP", "sock_inode_cache", "filp", "eventpoll_")
"""The kernel's slabs for each connection."""

_PACE = 2000
"""Messages a second."""

_KEPT = 100
_PINGED = 4.0


class _Bench:
    """One Redis, and what is started beside it."""

    def __init__(self, folder: Path, program: Path, redis: broker.Server) -> None:
        self.folder = folder
        self.program = program
        self.redis = redis

    def node(
        self, *options: str, name: str = "node", redis: bool = True
    ) -> contextlib.AbstractContextManager[Node]:
        """A node, with Redis if not told otherwise."""
        place = ("--broker", self.redis.url) if redis else ()
        return node(self.folder, *place, *options, name=name)

    def redis_cpu(self) -> float:
        """Seconds of CPU time of Redis so far."""
        return Process(self.redis.pid).settled_cpu()

    @contextlib.contextmanager
    def load(self, kind: str, to: Node, connections: int, *options: str) -> Iterator[Load]:
        """The load generator, ready to work."""
        command: list[str | Path] = [
            *(self.program, kind, "--pause", "--timeout", "60", "--port", str(to.port)),
            *("--connections", str(connections), "--path", f"/{CHANNEL}", *options),
        ]
        where = os.sched_getaffinity(0)
        with running(command, self.folder, "load", where, talks=True) as process:
            load = Load(process, self.folder, kind)
            yield load
            load.end()


def _each(cpu: Callable[[], float], count: float, work: Callable[[], object]) -> float:
    """Microseconds of CPU time for each of so many."""
    before = cpu()
    work()
    return (cpu() - before) / count * 1e6


def _connections(bench: _Bench) -> dict[str, float]:
    """Memory, and what comes and goes: all on one channel, then each on its own."""
    found = {}
    # The first node of all has Redis keep what the others find there.
    with bench.node(name="first"), broker.Redis(bench.redis.port) as redis:
        clients, alone = int(redis.info("clients")["connected_clients"]), redis.memory()
        with bench.node() as serving:
            found["links"] = float(int(redis.info("clients")["connected_clients"]) - clients)
            found["redis_client_octets"] = max(redis.memory() - alone, 0.0)
            found["process_octets"] = float(serving.memory())
            together = _idle(bench, redis, serving, 1)
        with bench.node() as serving:
            apart = _idle(bench, redis, serving, _IDLE, "--apart")
    return found | {
        "connection_octets": together.octets,
        "channel_octets": max(apart.octets - together.octets, 0.0),
        "socket_octets": together.kernel_octets,
        "join_us": max(apart.us - together.us, 0.0),
        "redis_join_us": max(apart.redis_us - together.redis_us, 0.0),
        "redis_subscription_octets": max(apart.redis_octets - together.redis_octets, 0.0),
    }


@attrs.frozen
class _Idle:
    """The memory and time that each of many idle connections takes, until it is closed."""

    octets: float
    kernel_octets: float
    us: float
    redis_us: float
    redis_octets: float


def _idle(bench: _Bench, redis: broker.Redis, serving: Node, channels: int, *options: str) -> _Idle:
    cpu, redis_cpu = serving.cpu(), bench.redis_cpu()
    memory, kernel, redis_memory = serving.memory(), _sockets(), redis.memory()
    with bench.load("idle", serving, _IDLE, *options):
        redis.wait_for_subscribers(CHANNEL, channels)
        octets = serving.memory() - memory
        kernel_octets = (_sockets() - kernel) / 2  # both ends are here
        redis_octets = redis.memory() - redis_memory
    redis.wait_for_subscribers(CHANNEL, 0)
    return _Idle(
        octets=octets / _IDLE,
        kernel_octets=max(kernel_octets, 0.0) / _IDLE,
        us=(serving.cpu() - cpu) / _IDLE * 1e6,
        redis_us=(bench.redis_cpu() - redis_cpu) / _IDLE * 1e6,
        redis_octets=redis_octets / _IDLE,
    )


def _sockets() -> int:
    """Octets that the kernel has for all sockets. Raises `BenchmarkError`."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError as error:
        raise BenchmarkError(f"/proc/slabinfo cannot be read: {error.strerror}") from error
    found = 0
    for line in lines:
        name, objects, _, size = line.split()[:4]
        if name.startswith(_SLABS):
            found += int(objects) * int(size)
    return found


def _alone(bench: _Bench) -> dict[str, float]:
    """Measure the figures that do not depend on Redis."""
    found = {}
    with (
        bench.node("--greeting", "Hello from server", redis=False) as serving,
        bench.load("connect", serving, 20, "--count", "2000") as load,
    ):
        found["connect_us"] = _each(serving.cpu, 2000, load.work)
    with (
        bench.node("--protocol", "echo", redis=False) as serving,
        bench.load("echo", serving, 50, "--count", "40000") as load,
    ):
        found["message_us"] = _each(serving.cpu, 40_000, load.work)
    often = ("--ping-interval", "1", "--ping-timeout", "1")
    with bench.node(*often, redis=False) as serving, bench.load("idle", serving, 2000):
        before, cpu = serving.octets_sent(), serving.cpu()
        time.sleep(_PINGED)
        # A ping has two octets, and nothing else is sent meanwhile.
        pings = (serving.octets_sent() - before) / 2
        found["ping_us"] = (serving.cpu() - cpu) / pings * 1e6
    return found


def _publishing(bench: _Bench) -> dict[str, float]:
    """From a publish to its delivery. One node publishes, another delivers.

    Nodes do it at a pace that leaves them half idle, as they are planned to be: where more
    come at once, they share what they cause. Redis has as much as comes.
    """
    found = {}
    with bench.node(name="publishes") as publishes:
        publishes.publish(200, _SMALL)
        paced = functools.partial(publishes.publish, 2 * _PACE, _SMALL, rate=_PACE)
        found["publish_us"] = _each(publishes.cpu, 2 * _PACE, paced)
        many = functools.partial(publishes.publish, 3000, _SMALL)
        found["redis_publish_us"] = _each(bench.redis_cpu, 3000, many)
        found["line_us"] = _each(
            publishes.cpu, 5000, lambda: publishes.publish(5000, _SMALL, lines=100)
        )
        with bench.node(name="delivers") as delivers, broker.Redis(bench.redis.port) as redis:
            costs = {
                (listeners, size): _delivered(bench, redis, publishes, delivers, listeners, size)
                for size in (_SMALL, _LARGE)
                for listeners in (1, _MANY)
            }
            found |= _passing(bench, redis, publishes, delivers, found["redis_publish_us"])
    more = _LARGE - _SMALL

    def deliver(size: int) -> float:
        return (costs[_MANY, size] - costs[1, size]) / (_MANY - 1)

    def arrive(size: int) -> float:
        return costs[1, size] - deliver(size)

    found["deliver_ns"] = max(deliver(_LARGE) - deliver(_SMALL), 0.0) / more * 1e3
    found["deliver_us"] = deliver(_SMALL) - found["deliver_ns"] * _SMALL / 1e3
    found["arrive_ns"] = max(arrive(_LARGE) - arrive(_SMALL), 0.0) / more * 1e3
    found["arrive_us"] = max(arrive(_SMALL) - found["arrive_ns"] * _SMALL / 1e3, 0.0)
    return found


def _delivered(
    bench: _Bench, redis: broker.Redis, publishes: Node, delivers: Node, listeners: int, size: int
) -> float:
    """Microseconds of who delivers, for each message."""
    rate, count = (_PACE, 2 * _PACE) if listeners == 1 else (50, 150)
    with listening(bench.program, bench.folder, [delivers], listeners, count) as load:
        redis.wait_for_subscribers(CHANNEL, 1)

        def work() -> None:
            publishes.publish(count, size, rate=rate)
            load.result()

        return _each(delivers.cpu, count, work)


def _passing(
    bench: _Bench, redis: broker.Redis, publishes: Node, delivers: Node, alone: float
) -> dict[str, float]:
    """Measure the time of Redis to pass a message on to subscribers in this program."""
    count = 1000
    with (
        listening(bench.program, bench.folder, [delivers], 1, 1),
        contextlib.ExitStack() as stack,
    ):
        (name,) = redis.wait_for_subscribers(CHANNEL, 1)
        shard = "S" if redis.ask("PUBSUB", "NUMSUB", name)[1] == 0 else ""
        raw = [stack.enter_context(broker.Redis(bench.redis.port)) for _ in range(_RAW)]
        for each in raw:
            each.ask(f"{shard}SUBSCRIBE", name)
        costs = {}
        with _drained(raw):
            for size in (_SMALL, _LARGE):
                work = functools.partial(publishes.publish, count, size)
                costs[size] = _each(bench.redis_cpu, count, work)
    octet_ns = max(costs[_LARGE] - costs[_SMALL], 0.0) / (_LARGE - _SMALL) / _RAW * 1e3
    each_us = (costs[_SMALL] - alone) / (_RAW + 1) - octet_ns * _SMALL / 1e3
    return {"redis_octet_ns": octet_ns, "redis_pass_us": max(each_us, 0.0)}


@contextlib.contextmanager
def _drained(subscribers: Sequence[broker.Redis]) -> Iterator[None]:
    """All that they are sent is read, and thrown away."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for each in select.select(subscribers, [], [], 0.1)[0]:
                os.read(each.fileno(), 1024**2)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _history(bench: _Bench) -> dict[str, float]:
    """Measure the time and the memory that messages cost in a history."""
    with (
        bench.node("--history", "1000,3600") as serving,
        broker.Redis(bench.redis.port) as redis,
    ):
        serving.publish(200, _SMALL)
        before = bench.redis_cpu()
        serving.publish(3000, _SMALL)
        cost = (bench.redis_cpu() - before) / 3000 * 1e6

        def kept(messages: int) -> float:
            """Octets of each channel, once it has so many more."""
            before = redis.memory()
            for number in range(_CHANNELS):
                publish(serving.admin, f"kept/{number}", messages, _SMALL, lines=messages)
            return (redis.memory() - before) / _CHANNELS

        first = kept(1)
        each = max(kept(_KEPT) / _KEPT - _SMALL, 0.0)
    return {
        "redis_history_us": cost,
        "redis_message_octets": each,
        "redis_channel_octets": max(first - each - _SMALL, 0.0),
    }


def measured(folder: Path, program: Path) -> MeasuredCosts:
    """All of them. `program` is the load generator."""
    with broker.server(folder) as redis:
        bench = _Bench(folder, program, redis)
        found = _alone(bench) | _connections(bench) | _publishing(bench) | _history(bench)
        with broker.Redis(redis.port) as asked:
            version = asked.info("server")["redis_version"]
    on = f"{machine.processor()}, {machine.kernel()}, {machine.python()}, Redis {version}"
    return MeasuredCosts(measured=datetime.now(UTC).date(), machine=on, **found)
