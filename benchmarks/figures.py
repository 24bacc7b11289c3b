"""From samples to medians, ratios and verdicts. PURE."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum

import attrs

from .works import Target, Work


@attrs.frozen
class Sample:
    """One measurement.

    `cost` is what ratios are made of: microseconds of CPU time for each message,
    or MiB of memory. `rate` is messages a second by the clock, latencies are
    microseconds; each 0 where it means nothing. `idle` says that whoever is
    measured waited for the load, not the load for it.
    """

    cost: float
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    count: int = 0
    idle: bool = False


@attrs.frozen
class Figures:
    """The figures of all rounds of one work on one server."""

    cost: float
    lowest: float
    highest: float
    rate: float
    p50: float
    p99: float
    rounds: int
    idle: bool


def summary(samples: Sequence[Sample]) -> Figures:
    """Medians, and the lowest and highest cost as a measure of noise."""
    costs = [each.cost for each in samples]
    return Figures(
        cost=statistics.median(costs),
        lowest=min(costs),
        highest=max(costs),
        rate=statistics.median(each.rate for each in samples),
        p50=statistics.median(each.p50 for each in samples),
        p99=statistics.median(each.p99 for each in samples),
        rounds=len(samples),
        idle=sum(each.idle for each in samples) * 2 > len(samples),
    )


class Verdict(StrEnum):
    """The verdict on a target."""

    GOAL = "goal reached"
    REACHED = "reached"
    MISSED = "NOT REACHED"
    BELOW_GOAL = "goal not reached"
    UNKNOWN = "not measured"


@attrs.frozen
class Judged:
    """A target with the ratio that was measured, None where there is none."""

    work: Work
    target: Target
    ratio: float | None
    verdict: Verdict


Samples = Mapping[str, Sequence[Sample]]
"""The samples of one work, by server, in the order of the rounds."""


def ratio(work: Work, ours: Sequence[Sample], peer: Sequence[Sample]) -> float | None:
    """Return the median of the rounds' ratios; None if the two have no round in common.

    Each ratio is of one round, since both were measured within the same minute: a slow phase of
    the machine slows both.
    """
    pairs = list(zip(ours, peer, strict=False))
    if not pairs:
        return None
    return statistics.median(
        mine.cost / theirs.cost if work.memory else theirs.cost / mine.cost
        for mine, theirs in pairs
    )


def judge(work: Work, target: Target, samples: Samples) -> Judged:
    """Return the verdict on a target."""
    found = ratio(work, samples.get(target.ours, ()), samples.get(target.peer, ()))
    if found is None:
        return Judged(work, target, None, Verdict.UNKNOWN)

    def reached(wanted: float | None) -> bool:
        if wanted is None:
            return False
        return found <= wanted if work.memory else found >= wanted

    if reached(target.goal):
        verdict = Verdict.GOAL
    elif target.least is None:
        verdict = Verdict.BELOW_GOAL
    elif reached(target.least):
        verdict = Verdict.REACHED
    else:
        verdict = Verdict.MISSED
    return Judged(work, target, found, verdict)
