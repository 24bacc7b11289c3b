"""The promises that a run breaks. PURE."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import combinations

import attrs

from .samples import Sample, within

MIB = 1024 * 1024

STEEPEST = 12.0
"""MiB an hour by which memory may grow in the second half of the load."""

JUDGED = 300.0
"""Seconds that the second half must last for its slope to be judged: a shorter one is warm-up."""

_WINDOW = 60.0
"""Seconds of a window; its least value leaves out what attacks hold for a moment."""


@attrs.frozen
class Finding:
    """A promise that was broken, and how."""

    promise: str
    what: str


@attrs.frozen
class Run:
    """All that a verdict is made of."""

    seed: int
    workers: int
    #: Seconds of load; the times of samples count from its beginning.
    seconds: float
    samples: tuple[Sample, ...]
    #: The last sample before the load, and the last one after it.
    before: Sample
    after: Sample
    #: The first failures, in words, and how many there were of each kind.
    failures: tuple[str, ...] = ()
    failed: dict[str, int] = attrs.field(factory=dict)
    wrong_lines: tuple[str, ...] = ()
    #: How a process ended that nobody ended.
    ended: str = ""
    server_errors: int = 0
    given_up: int = 0
    let_go: int = 0
    #: Acts that failed while the load itself stood still.
    stood_still: int = 0
    #: Acts that were not begun, since the machine had no time for them.
    left_out: int = 0
    done: dict[str, int] = attrs.field(factory=dict)

    @property
    def second_half(self) -> list[Sample]:
        """The samples of the second half of the load."""
        return within(self.samples, self.seconds / 2, self.seconds)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much a value grows in each unit of time: the median of all pairs' slopes.

    It is that of Theil and Sen: some odd points do not change it. 0 for less than two points.
    """
    slopes = [(v - u) / (t - s) for (s, u), (t, v) in combinations(points, 2) if t != s]
    return statistics.median(slopes) if slopes else 0.0


def lows(samples: Sequence[Sample], window: float = _WINDOW) -> list[tuple[float, float]]:
    """Return the time and the octets of the least resident memory of each whole window."""
    if not samples:
        return []
    found = []
    begin, end = samples[0].at, samples[-1].at
    while begin + window <= end + 2:
        part = within(samples, begin, begin + window)
        if part:
            least = min(part, key=lambda each: each.rss)
            found.append((least.at, float(least.rss)))
        begin += window
    return found


def growth(run: Run) -> float | None:
    """Return the MiB an hour by which memory grows in the second half; None if that is short."""
    if run.seconds / 2 < JUDGED:
        return None
    return slope(lows(run.second_half)) * 3600 / MIB


def findings(run: Run) -> Iterator[Finding]:
    """Yield each promise that was broken."""
    if run.ended:
        yield Finding("the service runs until it is told to end", run.ended)
    if run.failures:
        yield Finding(
            "no honest act fails, and each hostile one is over in time",
            f"{sum(run.failed.values())} failures, first {run.failures[0]}",
        )
    if run.server_errors:
        yield Finding("no answer has a status from 500 on", f"{run.server_errors} have")
    if run.wrong_lines:
        yield Finding("no log has a traceback", run.wrong_lines[0])
    if run.after.workers_lost > run.before.workers_lost:
        yield Finding("no worker is lost", f"{run.after.workers_lost} were")
    yield from _left(run)
    steepest = growth(run)
    if steepest is not None and steepest > STEEPEST:
        yield Finding(
            f"memory grows by at most {STEEPEST:g} MiB an hour in the second half",
            f"{steepest:.1f} MiB an hour",
        )


def _left(run: Run) -> Iterator[Finding]:
    before, after = run.before, run.after
    for name, was, now in (
        ("connections", before.connections, after.connections),
        ("descriptors", before.descriptors, after.descriptors),
        ("octets of unfinished messages and queues", before.message_memory, after.message_memory),
        ("channels", before.channels, after.channels),
    ):
        if now > was:
            yield Finding(f"no {name} are left once all have gone", f"{now}, before {was}")
