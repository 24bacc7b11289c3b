"""The results of the suite: read, judged, and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs

GOOD = ("OK", "INFORMATIONAL")
"""The results that pass, for behaviour and close behaviour. NON-STRICT does not pass."""


@attrs.frozen
class Case:
    """One case's result: the suite's words, and how long it took, in seconds."""

    name: str
    behavior: str
    close: str
    seconds: float

    @property
    def group(self) -> int:
        """The first number of its name."""
        return int(self.name.split(".")[0])

    @property
    def verdict(self) -> str:
        """The worse of the two: INFORMATIONAL is no worse than OK, everything else is."""
        for word in (self.behavior, self.close):
            if word not in GOOD:
                return word
        return self.behavior


@attrs.frozen
class Direction:
    """The results of one of the two, server or client. `expected` is how many cases were asked."""

    name: str
    cases: tuple[Case, ...]
    expected: int

    @property
    def bad(self) -> list[Case]:
        """The cases that were not as strict as they should be."""
        return [case for case in self.cases if case.verdict not in GOOD]

    @property
    def passed(self) -> bool:
        """True if every requested case ran, and passed."""
        return 0 < self.expected == len(self.cases) and not self.bad

    def line(self) -> str:
        """The result in a line."""
        good = len(self.cases) - len(self.bad)
        missing = self.expected - len(self.cases)
        missed = f", {missing} did not run" if missing else ""
        return f"{self.name}: {good} of {self.expected} cases OK or INFORMATIONAL{missed}"


def read(name: str, agent: str, folder: Path, expected: int) -> Direction:
    """The results in the reports of a folder; none where there are none."""
    index = folder / "index.json"
    results = json.loads(index.read_text()).get(agent, {}) if index.exists() else {}
    cases = [
        Case(case, each["behavior"], each["behaviorClose"], each["duration"] / 1000)
        for case, each in results.items()
    ]
    return Direction(name, tuple(sorted(cases, key=_order)), expected)


def _order(case: Case) -> list[int]:
    return [int(part) for part in case.name.split(".")]


_COLUMNS = ("group", "cases", "OK", "INFORMATIONAL", "NON-STRICT", "FAILED", "slowest")


def _rows(direction: Direction) -> list[tuple[str, ...]]:
    groups = sorted({case.group for case in direction.cases})
    rows = [_row(str(group), [c for c in direction.cases if c.group == group]) for group in groups]
    return [*rows, _row("all", direction.cases)]


def _row(name: str, cases: Sequence[Case]) -> tuple[str, ...]:
    counts = [
        sum(case.verdict == word for case in cases)
        for word in ("OK", "INFORMATIONAL", "NON-STRICT")
    ]
    slowest = max(cases, key=lambda case: case.seconds, default=None)
    return (
        name,
        str(len(cases)),
        *map(str, counts),
        # Whatever else the suite says (UNIMPLEMENTED, WRONG CODE, UNCLEAN ...) is no better.
        str(len(cases) - sum(counts)),
        f"{slowest.seconds:.2f} s ({slowest.name})" if slowest else "",
    )


def table(direction: Direction) -> str:
    """The results by group, for a terminal, and which cases were bad."""
    rows = [_COLUMNS, *_rows(direction)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    bad = [f"  {case.name}: {case.behavior}, close {case.close}" for case in direction.bad]
    return "\n".join([direction.line(), *lines, *bad])


def markdown(direction: Direction) -> str:
    """The results by group, as a Markdown table."""
    head = ["| " + " | ".join(_COLUMNS) + " |", "|" + " ---: |" * len(_COLUMNS)]
    lines = ["| " + " | ".join(row) + " |" for row in _rows(direction)]
    return "\n".join([f"## As {direction.name}", "", direction.line() + ".", "", *head, *lines, ""])
