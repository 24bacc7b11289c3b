"""The report printed at the end. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .ledger import Ledger, Outcome, Violation
from .schedule import Plan

_MOST_SHOWN = 20
"""Faults before a violation that are shown."""


def figures(plan: Plan, ledger: Ledger, faults: Counter[str], seconds: float) -> Iterator[str]:
    """Yield the lines that say how much there was of everything."""
    outcomes, counts = ledger.outcomes, ledger.counts
    yield f"seed {plan.seed}: {plan.topology}; {seconds:.0f} s"
    yield (
        f"publishes {sum(outcomes.values())}:"
        f" accepted {outcomes[Outcome.ACCEPTED.value]},"
        f" by behaviours {outcomes[Outcome.HOPED.value]},"
        f" 503 {outcomes[Outcome.REFUSED.value]},"
        f" 504 {outcomes[Outcome.LATE.value]},"
        f" unknown {outcomes[Outcome.UNKNOWN.value]}"
    )
    yield (
        f"deliveries {counts['deliveries']}, late {counts['late']}, gaps {counts['gaps']},"
        f" joins {counts['joins']}, resumptions {counts['resumptions']}"
    )
    done = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    yield f"faults {sum(faults.values())}: {done or 'none'}"


def row(plan: Plan, ledger: Ledger, faults: Counter[str]) -> str:
    """Return the same as a row of the table in docs/chaos.md."""
    outcomes, counts, topology = ledger.outcomes, ledger.counts, plan.topology
    cells = [
        str(plan.seed),
        "all" if topology.keeps else "nothing",
        len(topology.workers),
        sum(outcomes.values()),
        *(
            outcomes[each.value]
            for each in (
                *(Outcome.ACCEPTED, Outcome.HOPED, Outcome.REFUSED),
                *(Outcome.LATE, Outcome.UNKNOWN),
            )
        ),
        counts["deliveries"],
        counts["gaps"],
        counts["resumptions"],
        sum(faults.values()),
        sum(ledger.broken_promises.values()),
    ]
    return (
        "| " + " | ".join(f"{each:,}" if isinstance(each, int) else each for each in cells) + " |"
    )


def violations(plan: Plan, ledger: Ledger, folder: Path) -> Iterator[str]:
    """Yield the lines that say what was broken, and amid which faults."""
    for each in ledger.violations:
        yield f"VIOLATION at {each.at:.2f} s, seed {plan.seed}: {each.promise}"
        yield f"  {each.what}"
    if ledger.violations:
        yield from _before(ledger, ledger.violations[0])
        for promise, count in ledger.broken_promises.items():
            yield f"{count} times broken: {promise}"
        yield f"the logs are in {folder}"
        yield f"again: make chaos SEED={plan.seed}"


def _before(ledger: Ledger, violation: Violation) -> Iterator[str]:
    yield "the faults before the first:"
    before = [each for each in ledger.faults if each[0] <= violation.at]
    for at, what in before[-_MOST_SHOWN:]:
        yield f"  {at:8.2f} s  {what}"
