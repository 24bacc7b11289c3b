"""Show a plan as text for a terminal, as a table in Markdown, and as JSON. PURE."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import attrs

from .figures import MeasuredCosts
from .model import GIB, Load, Machines, Needs, Plan

_MBIT = 1e6 / 8

Row = tuple[str, ...]

_HEAD: Row = ("", "all", "each", "each has")


def number(value: float) -> str:
    """Return a number with three digits, or as a whole number with thousands separators."""
    if value >= 99.95 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "0"


def seconds(value: float) -> str:
    """Return a time in a suitable unit."""
    if value < 1e-3:
        return f"{number(value * 1e6)} µs"
    if value < 1:
        return f"{number(value * 1e3)} ms"
    return f"{number(value)} s" if value < 600 else f"{number(value / 60)} min"


def _row(name: str, all_of_it: float, count: int, each_has: float) -> Row:
    return (name, number(all_of_it), number(all_of_it / count), number(each_has))


def _nodes(load: Load, machines: Machines, plan: Plan) -> list[Row]:
    needs, count = plan.needs, plan.nodes
    network = machines.network / _MBIT
    return [
        _row("connections", load.connections, count, machines.connections),
        _row("CPU, cores", needs.cpu, count, machines.cores),
        _row("memory, GiB", needs.memory / GIB, count, machines.memory / GIB),
        _row("network in, Mbit/s", needs.network_in / _MBIT, count, network),
        _row("network out, Mbit/s", needs.network_out / _MBIT, count, network),
    ]


def _redis(machines: Machines, plan: Plan) -> list[Row]:
    needs, count = plan.needs, plan.redis
    network = machines.redis_network / _MBIT
    connections = needs.redis_connections
    return [
        _row("CPU, cores", needs.redis_cpu, count, 1),
        _row("memory, GiB", needs.redis_memory / GIB, count, machines.redis_memory / GIB),
        _row("network in, Mbit/s", needs.redis_in / _MBIT, count, network),
        _row("network out, Mbit/s", needs.redis_out / _MBIT, count, network),
        _row("connections", connections * count, count, machines.redis_connections),
    ]


def _reason(count: int, of: str) -> str:
    return f"{count:,}" + (f", for {of}" if of else "")


def _table(rows: Sequence[Row]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def text(load: Load, figures: MeasuredCosts, machines: Machines, plan: Plan) -> str:
    """Return a plan as text for a terminal."""
    needs = plan.needs
    nodes = [_HEAD, *_nodes(load, machines, plan)]
    redis = [_HEAD, *_redis(machines, plan)]
    # Both tables are one, so that their columns line up.
    lines = _table([*nodes, *redis]).split("\n")
    connections = _plural(load.connections, "connection")
    channels = _plural(load.channels, "channel")
    published = f"{number(load.publish_rate)} messages of {number(load.size)} octets"
    to = f"each to {number(load.fan_out)}: {number(load.delivered)} delivered a second"
    of = f"{number(needs.reached)} of {number(needs.processes)} processes"
    parts = [
        f"{connections} on {channels}, {number(load.connect_rate)} opened a second",
        f"{published} published a second, {to}",
        "",
        f"nodes: {_reason(plan.nodes, plan.nodes_for)}",
        *lines[: len(nodes)],
        "",
        f"Redis: {_reason(plan.redis, plan.redis_for)}",
        *lines[len(nodes) :],
        "",
        f"- a message reaches {of}; Redis handles {number(needs.redis_rate)} a second",
        f"- from the first to the last of those it goes to: {seconds(needs.spread)} or more",
        f"- {_without_one(plan)}",
        *(f"- but {each}" for each in plan.warnings),
        "",
        f"Planned for means of at most {machines.busy:.0%} of CPU time and network.",
        f"Figures of {figures.measured.isoformat()}: {figures.machine}.",
    ]
    return "\n".join(parts)


def _plural(value: float, of: str) -> str:
    return f"{number(value)} {of}" + ("" if value == 1 else "s")


def _without_one(plan: Plan) -> str:
    if plan.nodes == 1:
        return "one node needs no Redis; where it is lost, nothing is left"
    without = f"without one node, the others take {plan.busy_without_one:.0%} of their CPU time"
    if math.isinf(plan.back):
        return f"{without}: they cannot"
    return f"{without}; to take its connections back, {seconds(plan.back)} or more"


def markdown(plans: Sequence[tuple[Load, Machines, Plan]]) -> str:
    """Return plans side by side, as a table in Markdown."""
    columns = [_column(*each) for each in plans]
    rows = [tuple(cells) for cells in zip(*columns, strict=True)]
    names = [name for name, _ in columns[0]]
    lines = [(name, *(cell for _, cell in row)) for name, row in zip(names, rows, strict=True)]
    rule = (":---", *("---:" for _ in plans))
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def _column(load: Load, machines: Machines, plan: Plan) -> list[tuple[str, str]]:
    needs = plan.needs
    without = "" if plan.nodes == 1 else f"{plan.busy_without_one:.0%}"
    return [
        ("connections", number(load.connections)),
        ("published a second", number(load.publish_rate)),
        ("delivered a second", number(load.delivered)),
        ("**nodes**", f"**{_reason(plan.nodes, plan.nodes_for)}**"),
        *((f"each node: {name}", each) for name, _, each, _ in _nodes(load, machines, plan)),
        ("without one node: CPU of the others", without),
        ("processes that a message reaches", number(needs.reached)),
        ("**Redis servers**", f"**{_reason(plan.redis, plan.redis_for)}**"),
        *((f"each Redis: {name}", each) for name, _, each, _ in _redis(machines, plan)),
        ("from the first delivery to the last", seconds(needs.spread)),
    ]


def as_json(load: Load, figures: MeasuredCosts, machines: Machines, plan: Plan) -> str:
    """Return a plan as JSON, in the names and units of the model: octets, seconds, cores."""

    def shown(value: object) -> object:
        return None if isinstance(value, float) and math.isinf(value) else value

    def members(of: Load | Machines | Plan | Needs) -> dict[str, object]:
        return {name: shown(value) for name, value in attrs.asdict(of).items()}

    said = members(plan) | {"needs": members(plan.needs)}
    return json.dumps(
        {
            "load": members(load),
            "machines": members(machines),
            "plan": said,
            "figures": {"measured": figures.measured.isoformat(), "machine": figures.machine},
        },
        indent=1,
    )
