"""Publishing to a thousand connections on each node: how many, how late, and what Redis does."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from . import broker
from .loading import Load
from .nodes import CHANNEL, Node, listening, nodes

CONNECTIONS = 1000
SIZE = 128
PACE = 10
"""Messages a second while latencies are taken."""

_ALONE = 2000
_FLAT_OUT = 100
_WARMING = 5
_TIMED = 50
"""Messages of each measurement."""

_SELDOM = 0.05
"""Operations for each publish, below which they have to do with something else."""


@attrs.frozen
class Setup:
    """The processes that publish and deliver."""

    title: str
    nodes: int
    redis: bool = True
    options: tuple[str, ...] = ()


SETUPS = (
    Setup("one node, no Redis", 1, redis=False),
    Setup("two nodes, Redis", 2),
    Setup("two nodes, Redis, history", 2, options=("--history", "100,300")),
)


@attrs.frozen
class Delivered:
    """One measurement. Rates are of a second, latencies milliseconds."""

    alone: float
    """Publishes accepted where nobody listens."""
    accepted: float
    delivered: float
    p50: float
    p99: float
    node_us: float
    """Microseconds of CPU time of all nodes for each publish, while latencies are taken."""
    operations: Mapping[str, float]
    """Redis's commands for each publish."""


class _Redis:
    """The commands for the Redis of a setup, if it has one."""

    def __init__(self, server: broker.Server | None) -> None:
        self._asked = broker.Redis(server.port) if server else None

    def close(self) -> None:
        if self._asked:
            self._asked.close()

    def wait_for(self, serving: Sequence[Node]) -> None:
        """Wait until all nodes hear the channel."""
        if self._asked:
            self._asked.wait_for_subscribers(CHANNEL, len(serving))

    def begin(self) -> None:
        """Count from now on."""
        if self._asked:
            self._asked.ask("CONFIG", "RESETSTAT")

    def operations(self, publishes: int) -> dict[str, float]:
        """How often each command was called for each publish."""
        calls = self._asked.calls() if self._asked else {}
        own = {"config|resetstat", "info"}
        each = {name: count / publishes for name, count in calls.items() if name not in own}
        return {name: count for name, count in each.items() if count >= _SELDOM}


@contextlib.contextmanager
def running(folder: Path, setup: Setup) -> Iterator[tuple[list[Node], _Redis]]:
    """The nodes, and their Redis."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(broker.server(folder)) if setup.redis else None
        options = ("--broker", server.url, *setup.options) if server else setup.options
        serving = stack.enter_context(nodes(folder, setup.nodes, *options))
        yield serving, stack.enter_context(contextlib.closing(_Redis(server)))


def measured(folder: Path, program: Path, setup: Setup) -> Delivered:
    """One round of a setup. `program` is the load generator."""
    with running(folder, setup) as (serving, redis):
        first = serving[0]
        first.publish(200, SIZE)
        alone = first.publish(_ALONE, SIZE)

        def listen(count: int) -> contextlib.AbstractContextManager[Load]:
            return listening(program, folder, serving, CONNECTIONS, count)

        def cpu() -> float:
            return sum(each.cpu() for each in serving)

        with listen(_FLAT_OUT) as load:
            redis.wait_for(serving)
            redis.begin()
            accepted = first.publish(_FLAT_OUT, SIZE)
            heard = load.result()
            operations = redis.operations(_FLAT_OUT)
        with listen(_WARMING + _TIMED) as load:
            redis.wait_for(serving)
            first.publish(_WARMING, SIZE, rate=PACE, stamps=False)
            before = cpu()
            first.publish(_TIMED, SIZE, rate=PACE)
            timed = load.result()
            used = cpu() - before
    return Delivered(
        alone=alone.accepted / alone.seconds,
        accepted=accepted.accepted / accepted.seconds,
        delivered=heard["rate"],
        p50=timed["p50_us"] / 1e3,
        p99=timed["p99_us"] / 1e3,
        node_us=used / _TIMED * 1e6,
        operations=operations,
    )


def medians(rounds: Sequence[Delivered]) -> Delivered:
    """Return the medians of the rounds."""

    def of(name: str) -> float:
        return float(statistics.median(getattr(each, name) for each in rounds))

    names = [each.name for each in attrs.fields(Delivered)]
    return Delivered(
        **{name: of(name) for name in names if name != "operations"},
        operations=rounds[-1].operations,
    )
