"""The model's part of docs/scaling.md: its figures, plans and comparisons. PURE."""

from __future__ import annotations

import math

import attrs

from wsservice.scaling import model, shown
from wsservice.scaling.figures import NUMBERS, MeasuredCosts
from wsservice.scaling.model import Load, Machines

from . import report

_SIZES = (10_000, 1_000_000, 100_000_000)


def figures(of: MeasuredCosts) -> str:
    """The constants of the model."""
    units = {"us": " µs", "ns": " ns", "octets": " octets"}
    rows = [
        (
            f"`{each.name}`",
            each.metadata["what"],
            shown.number(getattr(of, each.name)) + units.get(each.name.split("_")[-1], ""),
        )
        for each in NUMBERS
    ]
    said = f"Measured on {of.measured.isoformat()}: {of.machine}."
    return f"{said}\n\n{report.markdown(('figure', 'cost of', ''), rows, left=2)}"


def groups(connections: float) -> Load:
    """Each connection on a channel with nine others; half of them are told something a second."""
    return Load(
        connections=connections,
        publish_rate=connections / 20,
        fan_out=10,
        size=100,
        channels=connections / 10,
        session=300,
    )


def one_channel(connections: float) -> Load:
    """All on one channel, which is told something each second."""
    return attrs.evolve(groups(connections), publish_rate=1, fan_out=connections, channels=1)


def plans(of: MeasuredCosts) -> str:
    """Return the plans for numbers of connections, for two kinds of load."""
    machines = Machines()

    def table(*loads: Load) -> str:
        planned = [(each, machines, model.plan(each, of, machines)) for each in loads]
        warnings = [
            f"- With {shown.number(load.connections)} connections {warning}."
            for load, _, plan in planned
            for warning in plan.warnings
        ]
        return "\n".join((shown.markdown(planned), *(("", *warnings) if warnings else ())))

    return (
        "Groups: each connection is on a channel with nine others. One in twenty publishes each"
        " second, so half of all receive a message. Each stays for 300 s:\n\n"
        f"{table(*map(groups, _SIZES))}\n\n"
        "One channel: all connections are on it. One message is published each second:\n\n"
        f"{table(*map(one_channel, _SIZES))}"
    )


def each_publish(of: MeasuredCosts, *, nodes: int, connections: int, size: int) -> float:
    """Microseconds of CPU time, of nodes of a process each, for each publish to so many
    connections on each node."""
    load = Load(
        connections=connections * nodes,
        publish_rate=1.0,
        fan_out=connections * nodes,
        size=size,
        channels=1,
        session=math.inf,
        ping_interval=0.0,
    )
    return model.needs(load, of, nodes).cpu * 1e6


@attrs.frozen
class Published:
    """A result that the makers of another server have published."""

    cores: float
    idle_cores: float
    memory: float
    redis: float
    redis_history: float
    network_in: float
    network_out: float
    processes: int = 40
    nodes: int = 20
    redis_servers: int = 5


CENTRIFUGO = Published(
    cores=40,
    idle_cores=10,
    memory=27e9,
    redis=5 * 0.32,
    redis_history=5 * 0.64,
    network_in=20 * 100e6 / 8,
    network_out=20 * 150e6 / 8,
)
"""A million connections on 1.1 million channels, 500,000 deliveries a second of some 100 octets,
200,000 connections opened a minute: 20 pods of 2 CPUs, 5 Redis. How much of it went to groups of
ten and how much to single connections is not said."""


MOST_PASSED, MOST_SIZE = 650_000, 256
"""Messages a second of so many octets that one Redis passed on, at most, to who subscribed."""


def check(of: MeasuredCosts) -> str:
    """The model beside what was published of such a load, for both of what it may have been."""
    common = {"connections": 1e6, "size": 100.0, "session": 300.0, "ping_interval": 25.0}
    # Two memberships for each connection, and as many deliveries, in either.
    alone = Load(publish_rate=5e5, fan_out=1, channels=2e6, **common)
    tens = Load(publish_rate=5e4, fan_out=10, channels=2e5, **common)
    theirs = CENTRIFUGO

    def both(name: str, **changes: float) -> list[float]:
        return [
            getattr(model.needs(attrs.evolve(load, **changes), of, theirs.processes), name)
            for load in (tens, alone)
        ]

    def row(what: str, published: float, values: list[float], unit: float) -> tuple[str, ...]:
        low, high = sorted(each / unit for each in values)
        return (
            what,
            shown.number(published / unit),
            f"{shown.number(low)} to {shown.number(high)}",
        )

    mbit = 1e6 / 8 * theirs.nodes
    rows = [
        row("CPU of all nodes, cores", theirs.cores, both("cpu"), 1),
        row("the same, nothing published", theirs.idle_cores, both("cpu", publish_rate=0.0), 1),
        row("memory of all nodes, GB", theirs.memory, both("memory"), 1e9),
        row("network in, each node, Mbit/s", theirs.network_in, both("network_in"), mbit),
        row("network out, each node, Mbit/s", theirs.network_out, both("network_out"), mbit),
        row("CPU of all Redis, cores", theirs.redis, both("redis_cpu"), 1),
        row(
            "the same, with a history",
            theirs.redis_history,
            both("redis_cpu", history=100.0, history_seconds=300.0),
            1,
        ),
    ]
    most = 1e6 / (of.redis_pass_us + of.redis_octet_ns * MOST_SIZE / 1e3)
    rows.append(
        (
            "messages that one Redis passes on, a second",
            shown.number(MOST_PASSED),
            shown.number(most),
        )
    )
    return report.markdown(("", "published", "this model"), rows)
