"""The tables of a run: for the terminal, and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template

from .figures import Judged, Sample, Verdict, ratio, summary
from .results import Result
from .works import OURS, Work

Row = tuple[str, ...]

_REFERENCE = "ws"
"""The server that the chart compares all others with."""


def number(value: float) -> str:
    """Three digits, or the whole number where there are more; thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "0"


def times(value: float) -> str:
    """A ratio, in two digits at least."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cost_head(work: Work) -> str:
    return "MiB" if work.memory else f"CPU µs for each {work.unit}"


def head(work: Work) -> Row:
    """Return the head of a work's table."""
    what = "ours / peer" if work.memory else "peer / ours"
    figures = ("server", _cost_head(work), "lowest to highest", what)
    if work.memory:
        return figures
    return (*figures, "a second", *(("p50 ms", "p99 ms") if work.kind == "echo" else ()))


def rows(result: Result, titles: Mapping[str, str]) -> list[Row]:
    """A work's table: this service, its variants, its peers; then those that could not."""
    work = result.work
    made: list[Row] = []
    for name, samples in result.samples.items():
        figures = summary(samples)
        part = ratio(work, result.samples.get(OURS, ()), samples)
        row: Row = (
            titles[name],
            number(figures.cost),
            f"{number(figures.lowest)} to {number(figures.highest)}",
            "" if part is None or name == OURS else times(part),
        )
        if not work.memory:
            row += (number(figures.rate) + (" *" if figures.idle else ""),)
        if work.kind == "echo":
            row += (number(figures.p50 / 1000), number(figures.p99 / 1000))
        made.append(row)
    blank = ("",) * (len(head(work)) - 2)
    made += [(titles[name], why, *blank) for name, why in result.problems.items()]
    return made


def wanted(judged: Judged) -> str:
    """A figure to reach, in words."""
    target = judged.target
    bound = "at most " if judged.work.memory else ""
    parts = []
    if target.least is not None:
        parts.append(f"{bound}{target.least:g} x")
    if target.goal is not None:
        parts.append(f"goal {bound}{target.goal:g} x")
    return ", ".join(parts)


TARGETS_HEAD = ("work", "wsservice to", "wanted", "measured", "")


def target_rows(results: Sequence[Result], titles: Mapping[str, str]) -> list[Row]:
    """The figures to reach, and whether they were."""
    return [
        (
            judged.work.title,
            titles[judged.target.peer]
            + ("" if judged.target.ours == OURS else f", with {titles[judged.target.ours]}"),
            wanted(judged),
            "" if judged.ratio is None else f"{times(judged.ratio)} x",
            judged.verdict,
        )
        for result in results
        for judged in result.judged
    ]


def losses(results: Sequence[Result], titles: Mapping[str, str]) -> list[str]:
    """Return the works where peers do better than this service, the best first."""
    found = []
    for result in results:
        peers = [name for name in result.samples if not name.startswith(OURS)]
        ours = result.samples.get(OURS, ())
        more = sorted(
            (
                (1 / part, titles[name])
                for name in peers
                if (part := _cheapness(result, OURS, result.samples[name])) and part < 0.995
            ),
            reverse=True,
        )
        if more and ours:
            what = "memory" if result.work.memory else "CPU time"
            each = ", ".join(f"{times(value)} x that of {title}" for value, title in more)
            found.append(f"{result.work.title}: our {what} is {each}")
    return found


def counts(results: Sequence[Result]) -> str:
    """How many figures were reached, in a line."""
    verdicts = [judged.verdict for result in results for judged in result.judged]
    good = sum(each in (Verdict.GOAL, Verdict.REACHED) for each in verdicts)
    unknown = sum(each is Verdict.UNKNOWN for each in verdicts)
    measured = len(verdicts) - unknown
    return f"{good} of {measured} figures reached" + (
        f", {unknown} not measured" if unknown else ""
    )


def text(columns: Row, table: Sequence[Row]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[place]) for row in (columns, *table)) for place in range(len(columns))]
    # A reason why there are no figures may be as long as it likes.
    if any(not row[-1] and len(row) > 2 and not row[2] for row in table):
        widths[1] = max(len(row[1]) for row in (columns, *table) if row is columns or row[2])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *table)
    )


def markdown(columns: Row, table: Sequence[Row], left: int = 1) -> str:
    """The same in Markdown, the first `left` columns to the left."""
    rule = [":---" if place < left else "---:" for place in range(len(columns))]
    lines = [columns, tuple(rule), *table]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def bars(results: Sequence[Result], titles: Mapping[str, str]) -> dict[str, object]:
    """Return the chart's data: the cost of `ws` for each work, by that of each server.

    Works that `ws` does not do, as the client's, are left to the tables.
    """
    names = [
        name
        for name in titles
        if name != _REFERENCE
        and not name.startswith(f"{OURS}-")
        and any(name in each.samples for each in results)
    ]
    works = []
    for result in results:
        reference = result.samples.get(_REFERENCE, ())
        values = [_cheapness(result, name, reference) for name in names]
        if reference:
            works.append({"title": result.work.title, "times": values})
    return {
        "servers": [titles[name] for name in names],
        "works": works,
        "reference": titles[_REFERENCE],
    }


def _cheapness(result: Result, name: str, reference: Sequence[Sample]) -> float | None:
    """How many times as cheap a server is as another, in whatever is measured."""
    part = ratio(result.work, result.samples.get(name, ()), reference)
    if part is None:
        return None
    return 1 / part if result.work.memory else part


def document(
    template: str,
    results: Sequence[Result],
    titles: Mapping[str, str],
    facts: Mapping[str, str],
) -> str:
    """docs/benchmarks.md. `facts` are what the template asks for besides the tables."""
    works = [
        f"### {result.work.title}\n\n`{result.work.name}`: {details(result.work)}.\n\n"
        f"{markdown(head(result.work), rows(result, titles))}\n"
        for result in results
    ]
    lost = losses(results, titles)
    return Template(template).substitute(
        facts,
        counts=counts(results),
        targets=markdown(TARGETS_HEAD, target_rows(results, titles), left=2),
        losses="\n".join(f"- {each}" for each in lost) if lost else "Nowhere, in this run.",
        works="\n".join(works).rstrip(),
    )


def details(work: Work) -> str:
    """How a work was done, in a line."""
    words = [f"{work.connections:,} connections"]
    if work.kind in ("ingest", "echo", "broadcast", "client"):
        words.append(f"{'binary' if work.binary else 'text'} of {work.size:,} octets")
    if work.kind in ("echo", "client"):
        words.append(f"{work.depth} in flight on each")
    return ", ".join(words)
