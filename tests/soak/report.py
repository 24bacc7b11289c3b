"""The figures for the terminal, the page and the chart. PURE."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from .samples import Sample, within
from .schedule import HONEST, HOSTILE, KINDS, Kind
from .verdict import MIB, Run, findings, growth, lows

Row = tuple[str, ...]

_NEARLY_ALL = 99
"""The percentile of lags that is shown."""

_MOST_POINTS = 600
"""More would not be told apart in the chart, and make its file large."""

_RATED = 10
"""Points over which a rate is measured."""


def to_json(run: Run) -> str:
    """Return a run as JSON, for `from_json`."""
    return json.dumps(attrs.asdict(run))


def from_json(text: str) -> Run:
    """Return the run that was made JSON by `to_json`."""
    given: dict[str, Any] = json.loads(text)
    for name in ("failures", "wrong_lines"):
        given[name] = tuple(given[name])
    for name in ("before", "after"):
        given[name] = Sample(**given[name])
    given["samples"] = tuple(Sample(**each) for each in given["samples"])
    return Run(**given)


def _mib(octets: float) -> str:
    return f"{octets / MIB:.1f} MiB"


def _ms(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the least value that so many of a hundred do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def extremes(run: Run) -> list[Row]:
    """Return a table: the state before the load, in the middle, at its end, after it, and the most.

    In the middle and at the end it is the median of a minute.
    """
    loaded = within(run.samples, 0, run.seconds)

    def median(end: float, of: Callable[[Sample], float]) -> float:
        part = within(run.samples, max(0.0, end - 60), end) or [run.before]
        return statistics.median(map(of, part))

    def row(name: str, of: Callable[[Sample], float], shown: Callable[[float], str]) -> Row:
        return (
            name,
            shown(of(run.before)),
            shown(median(run.seconds / 2, of)),
            shown(median(run.seconds, of)),
            shown(max(map(of, loaded), default=0.0)),
            shown(of(run.after)),
        )

    def whole(value: float) -> str:
        return f"{value:,.0f}"

    return [
        ("", "before the load", "at half of it", "at its end", "the most", "after it"),
        row("resident memory", lambda each: each.rss, _mib),
        row("memory of its own", lambda each: each.uss, _mib),
        row("descriptors", lambda each: each.descriptors, whole),
        row("connections", lambda each: each.connections, whole),
    ]


def totals(run: Run) -> Iterator[str]:
    """Yield sentences with what the run did and how it went."""
    loaded = within(run.samples, 0, run.seconds)
    means = [each.lag_mean for each in loaded]
    worst = [each.lag_worst for each in loaded]
    honest = sum(count for kind, count in run.done.items() if kind in HONEST)
    hostile = sum(count for kind, count in run.done.items() if kind in HOSTILE)
    accepted = run.after.accepted - run.before.accepted
    messages = run.after.messages - run.before.messages
    yield (
        f"Seed {run.seed}, {run.seconds / 60:.3g} minutes: {honest:,} honest acts and {hostile:,}"
        f" hostile ones, {accepted:,} connections, {messages:,} messages received and sent."
        + (f" The machine had no time for {run.left_out:,} acts." if run.left_out else "")
    )
    yield (
        f"Failures: {sum(run.failed.values())}. Answers of 500 or more: {run.server_errors}."
        f" Tracebacks in the log: {len(run.wrong_lines)}."
    )
    yield (
        "Documented losses under attack: the service closed"
        f" {run.given_up} slow readers with 1013 while a `crowd` took all memory for messages, and"
        f" {run.let_go} callers of the admin face asked again while `admin-silent` filled it."
    )
    yield (
        f"The reactor's lag: {_ms(statistics.median(means) if means else 0)} in the median of all"
        f" seconds' means; the worst of a second is at most {_ms(percentile(worst, 50))} in half"
        f" of all seconds, at most {_ms(percentile(worst, _NEARLY_ALL))} in"
        f" {_NEARLY_ALL} %, at most {_ms(max(worst, default=0))} in all."
    )
    still = max((each.own_lag for each in loaded), default=0.0)
    yield (
        f"The load's own process was late by {_ms(still)} at worst. Acts that failed while it stood"
        f" still for 2 s or more: {run.stood_still}."
    )
    yield (
        f"CPU: the service took {_mean([each.cpu for each in loaded])} of a core, the load"
        f" {_mean([each.own_cpu for each in loaded])} beside the floods."
    )
    grows = growth(run)
    if grows is not None:
        points = lows(run.second_half)
        yield (
            f"Memory in the second half: {grows:+.1f} MiB an hour, by the least value of each of"
            f" {len(points)} minutes."
        )


def _mean(values: Sequence[float]) -> str:
    return f"{100 * statistics.fmean(values):.0f} %" if values else "0 %"


def verdict(run: Run) -> Iterator[str]:
    """Yield a line for each broken promise, and some failures in full."""
    for each in findings(run):
        yield f"BROKEN: {each.promise}: {each.what}"
    for failure in run.failures[:10]:
        yield f"  {failure}"
    for line in run.wrong_lines[:10]:
        yield f"  {line}"


def table(rows: Sequence[Row], right: bool = True) -> str:
    """Return rows, the first of which is the head, as a table of Markdown."""
    first, *rest = rows
    marks = ["---", *(["---:" if right else "---"] * (len(first) - 1))]
    lines = [first, tuple(marks), *rest]
    return "\n".join("| " + " | ".join(each) + " |" for each in lines)


def done(run: Run, kinds: Mapping[str, Kind]) -> list[Row]:
    """Return a table of kinds of acts: what they are, and how many of them were done."""
    return [
        ("act", "what it is", "times"),
        *((name, kind.what, f"{run.done.get(name, 0):,}") for name, kind in kinds.items()),
    ]


def page_part(run: Run, facts: str, chart: str) -> str:
    """Return the part of the page that a run writes."""
    first, *rest = totals(run)
    return "\n\n".join(
        [
            f"{facts} {first}",
            f"![Memory, descriptors, lag, CPU and errors over time]({chart})",
            table(extremes(run)),
            "\n".join(f"- {each}" for each in rest),
        ]
    )


def terminal(run: Run) -> Iterator[str]:
    """Yield the lines for the terminal."""
    rows = extremes(run)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    yield from totals(run)
    missing = [name for name in KINDS if not run.done.get(name)]
    if missing:
        yield f"never done: {', '.join(missing)}"


def chart(run: Run) -> dict[str, Any]:
    """Return what the chart shows: times in minutes, MiB, milliseconds, and percent of a core.

    There are at most `_MOST_POINTS` points, each of which stands for some samples: for the most of
    them, or for their mean where that is said.
    """
    size = -(-len(run.samples) // _MOST_POINTS)
    groups = [run.samples[at : at + size] for at in range(0, len(run.samples), size or 1)]

    def most(of: Callable[[Sample], float], factor: float = 1) -> list[float]:
        return [round(factor * max(map(of, group)), 2) for group in groups]

    def mean(of: Callable[[Sample], float], factor: float = 1) -> list[float]:
        return [round(factor * statistics.fmean(map(of, group)), 2) for group in groups]

    def rate(of: Callable[[Sample], int]) -> list[float]:
        """Return how many there were in each second, over some points."""
        made = []
        for place, group in enumerate(groups):
            before, last = groups[max(0, place - _RATED)][-1], group[-1]
            passed = last.at - before.at
            made.append(round((of(last) - of(before)) / passed, 2) if passed else 0.0)
        return made

    grows = growth(run)
    found: dict[str, Any] = {
        "minutes": [round(group[-1].at / 60, 4) for group in groups],
        "load_ends": run.seconds / 60,
        "rss": most(lambda each: each.rss, 1 / MIB),
        "uss": most(lambda each: each.uss, 1 / MIB),
        "history": most(lambda each: each.history, 1 / MIB),
        "message_memory": most(lambda each: each.message_memory, 1 / MIB),
        "descriptors": most(lambda each: each.descriptors),
        "connections": most(lambda each: each.connections),
        "descriptors_before": run.before.descriptors,
        "lag_mean": mean(lambda each: each.lag_mean, 1000),
        "lag_worst": most(lambda each: each.lag_worst, 1000),
        "own_lag": most(lambda each: each.own_lag, 1000),
        "cpu": mean(lambda each: each.cpu, 100),
        "own_cpu": mean(lambda each: each.own_cpu, 100),
        "honest": rate(lambda each: each.honest),
        "hostile": rate(lambda each: each.hostile),
        "errors": most(lambda each: each.failures + each.wrong),
        "trend": [],
        "growth": grows,
    }
    if grows is not None:
        points = lows(run.second_half)
        middle_at = statistics.median(at for at, _ in points)
        middle = statistics.median(octets for _, octets in points) / MIB
        found["trend"] = [
            [at / 60, middle + grows * (at - middle_at) / 3600]
            for at in (points[0][0], points[-1][0])
        ]
    return found
