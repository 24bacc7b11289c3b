"""Two nodes and a Redis, measured: `make bench-redis`, which writes docs/scaling.md.

It writes the figures of the model, too, `wsservice/scaling/figures.toml`, and what
follows from them. Nothing is bound to a core: nodes, Redis, the load generator and
who publishes share those that there are.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wsservice.errors import ConfigError
from wsservice.scaling import figures as constants_file
from wsservice.scaling.figures import MeasuredCosts

from . import building, constants, delivering, plans, recovering, report
from .delivering import Delivered, Setup
from .document import with_part
from .errors import BenchmarkError
from .processes import ROOT
from .recovering import Outcome

DOCUMENT = ROOT / "docs" / "scaling.md"
COMMAND = "make bench-redis"

_CHANNELS = (1, 5000)
"""How many a node has to subscribe to anew when Redis comes back."""


def say(text: str) -> None:
    """For who waits."""
    print(text, flush=True)


def deliveries(folder: Path, program: Path, rounds: int) -> dict[Setup, Delivered]:
    """Each setup, in turns."""
    found: dict[Setup, list[Delivered]] = {setup: [] for setup in delivering.SETUPS}
    for number in range(1, rounds + 1):
        for setup, samples in found.items():
            each = delivering.measured(folder, program, setup)
            samples.append(each)
            say(
                f"round {number}: {setup.title}: {each.alone:,.0f} accepted a second, with"
                f" listeners {each.accepted:,.0f}; {each.delivered:,.0f} delivered a second;"
                f" p50 {each.p50:.1f} ms, p99 {each.p99:.1f} ms"
            )
    return {setup: delivering.medians(samples) for setup, samples in found.items()}


def deliveries_table(found: dict[Setup, Delivered]) -> str:
    """Return the table of deliveries."""
    rows: list[report.Row] = [
        (
            f"{setup.title}, {setup.nodes} x {delivering.CONNECTIONS:,}",
            report.number(each.alone),
            report.number(each.accepted),
            report.number(each.delivered),
            report.number(each.p50),
            report.number(each.p99),
        )
        for setup, each in found.items()
    ]
    head = (
        "connections",
        "published a second, nobody listens",
        "published a second",
        "delivered a second",
        "p50 ms",
        "p99 ms",
    )
    return report.markdown(head, rows)


def costs_table(found: dict[Setup, Delivered], of: MeasuredCosts) -> str:
    """Return the table of Redis's cost for each publish, measured and by the model."""
    rows: list[report.Row] = []
    for setup, each in found.items():
        if not setup.redis:
            continue
        operations = ", ".join(
            f"{count:.3g} {name}" for name, count in sorted(each.operations.items())
        )
        node_us = plans.each_publish(
            of, nodes=setup.nodes, connections=delivering.CONNECTIONS, size=delivering.SIZE
        )
        rows.append(
            (
                setup.title,
                operations,
                report.number(each.node_us / 1e3),
                report.number(node_us / 1e3),
            )
        )
    head = ("for each publish", "commands of Redis", "CPU ms of nodes", "by the model")
    return report.markdown(head, rows, left=2)


def recoveries(folder: Path, program: Path, rounds: int) -> dict[int, list[float]]:
    """Seconds until all is as before, by how many channels there are."""
    found: dict[int, list[float]] = {}
    for channels in _CHANNELS:
        found[channels] = [recovering.recovered(folder, program, channels) for _ in range(rounds)]
        said = ", ".join(f"{each:.2f}" for each in found[channels])
        say(f"Redis is back, {channels:,} channels: heard after {said} s")
    return found


def recoveries_text(found: dict[int, list[float]]) -> str:
    """The same, as a list."""
    lines = [
        f"- **Redis restarted**, away for {recovering.AWAY:g} s, with"
        f" {channels:,} channel{'s' * (channels > 1)} to subscribe to: messages pass from one node"
        f" to the other {statistics.median(times):.2f} s after its first answer,"
        f" {max(times):.2f} s at most of {len(times)}."
        for channels, times in found.items()
    ]
    return "\n".join(lines)


def outcome_text(of: Outcome) -> str:
    """Return the text on the messages that were published during the faults."""
    unknown = (
        f" {of.unknown} more were answered 504 (perhaps published), and {of.came} of these came."
        if of.unknown
        else ""
    )
    return (
        f"- **`kill -9` of Redis amid {recovering.MESSAGES:,} messages**, with"
        f" `appendfsync always`: {of.accepted:,} were accepted, in {of.seconds:.1f} s."
        f" {of.refused:,} times a publish was answered 503, and was tried again.{unknown}"
        f" {recovering.CLIENTS} clients, which changed nodes {of.moves} times and resumed, had"
        f" **{of.missing} missing, {of.twice} twice**, {of.disordered} out of order,"
        f" {of.gaps} gaps."
    )


def derived(document: str, of: MeasuredCosts) -> str:
    """The document with what follows from the figures."""
    document = with_part(document, "figures", plans.figures(of))
    document = with_part(document, "plans", plans.plans(of))
    return with_part(document, "check", plans.check(of))


def measure(rounds: int) -> tuple[str, MeasuredCosts]:
    """The document's part that is measured, and the figures."""
    program = building.load_generator()
    load, _, _ = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="wsservice-bench-") as name:
        folder = Path(name)
        found = constants.measured(folder, program)
        say(constants_file.written(found, COMMAND))
        delivered = deliveries(folder, program, rounds)
        back = recoveries(folder, program, rounds)
        outcome = recovering.kept(folder)
        say(outcome_text(outcome))
    measured = (
        f"Measured by `{COMMAND}` on {found.measured.isoformat()}. Machine: {found.machine}; its"
        f" load was {load:.1f} before. Figures are medians of {rounds} rounds. The nodes, Redis,"
        " publishers and listeners share these cores."
    )
    parts = [
        measured,
        deliveries_table(delivered),
        costs_table(delivered, found),
        f"{recoveries_text(back)}\n{outcome_text(outcome)}",
    ]
    text = "\n\n".join(parts)
    return text, found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--no-measuring",
        action="store_true",
        help="write only what follows from the figures that there are",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """The exit status: 0, or 2 where it cannot be measured."""
    asked = parse()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        document = DOCUMENT.read_text()
        if asked.no_measuring:
            found = constants_file.read()
        else:
            text, found = measure(asked.rounds)
            constants_file.FILE.write_text(constants_file.written(found, COMMAND))
            # As they were written, so that the document says what the program does.
            found = constants_file.read()
            document = with_part(document, "measured", text)
        DOCUMENT.write_text(derived(document, found))
    except (BenchmarkError, ConfigError, OSError, subprocess.SubprocessError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    say(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
