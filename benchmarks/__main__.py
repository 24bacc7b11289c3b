"""`python -m benchmarks`: every work on every server, in rounds, and what came of it."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from wsservice.protocol.frames import CODEC

from . import building, machine, report
from .errors import BenchmarkError, MeasurementError
from .measuring import Bench
from .processes import ROOT, cores
from .results import Result
from .servers import ALL, Server
from .works import OURS, SERVERS, WORKS, Work, scaled

DOCUMENT = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"

TITLES = {server.name: server.title for server in ALL}


def available(names: Sequence[str]) -> list[Server]:
    """Those of the servers that can be started here; a line for each other."""
    found = []
    for server in ALL:
        if server.name not in names:
            continue
        try:
            server.prepare()
        except BenchmarkError as problem:
            print(f"left out: {server.title}: {problem}", flush=True)
        else:
            found.append(server)
    return found


def taking_part(work: Work, servers: Sequence[Server]) -> list[Server]:
    """Return the servers of a work: this service, its variants where they matter, every peer."""
    return [
        server
        for server in servers
        if (not server.ours or server.name in (OURS, *work.variants))
        and not (work.kind == "client" and server.client is None)
    ]


def run(bench: Bench, work: Work, servers: Sequence[Server], rounds: int) -> Result:
    """A work on each server, one after another, as many times as there are rounds."""
    result = Result(work)
    echo = ALL[0]
    for number in range(1, rounds + 1):
        for server in taking_part(work, servers):
            if number == 1 and server.cannot(work):
                result.problems[server.name] = server.cannot(work)
            if server.name in result.problems:
                continue
            try:
                sample = bench.measure(work, server, echo)
            except MeasurementError as problem:
                result.problems[server.name] = str(problem)
                result.samples.pop(server.name, None)
                print(f"  {problem}", flush=True)
                continue
            result.samples.setdefault(server.name, []).append(sample)
            unit = "MiB" if work.memory else f"µs, {report.number(sample.rate)} a second"
            said = f"{report.number(sample.cost)} {unit}"
            print(f"  round {number} of {rounds}: {server.title}: {said}", flush=True)
    print(report.text(report.head(work), report.rows(result, TITLES)), end="\n\n", flush=True)
    return result


def write(results: Sequence[Result], servers: Sequence[Server], rounds: int, took: float) -> None:
    """The document and its chart."""
    names = {server.name for server in servers}
    versions = machine.versions(names)
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": machine.processor(),
        "kernel": machine.kernel(),
        "python": machine.python(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "codec": CODEC,
        "rounds": str(rounds),
        "minutes": f"{took / 60:.0f}",
        "chart": CHART.name,
    }
    template = (building.HERE / "template.md").read_text()
    DOCUMENT.write_text(report.document(template, results, TITLES, facts))
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
    try:
        building.python_peers()
    except BenchmarkError as problem:
        print(f"no chart: {problem}")
        return
    subprocess.run(
        [building.PEERS_PYTHON, building.HERE / "chart.py", CHART],
        input=json.dumps(report.bars(results, TITLES)),
        text=True,
        check=True,
    )
    print(f"written: {CHART.relative_to(ROOT)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="The same work for wsservice and its peers, in one run. All works on all"
        " servers, three rounds or more, write docs/benchmarks.md and its chart.",
    )
    works = [work.name for work in WORKS]
    parser.add_argument(
        "works", nargs="*", metavar="WORK", help=f"one of {', '.join(works)}; all without one"
    )
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=SERVERS,
        default=list(SERVERS),
        metavar="SERVER",
        help=f"of {', '.join(SERVERS)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="how long a measurement lasts, in seconds of CPU time, about, after the warming up;"
        " below 1, also what part of the connections of idle and broadcast there are",
    )
    given = parser.parse_args()
    for work in given.works:
        if work not in works:
            parser.error(f"there is no work {work!r}; there are {', '.join(works)}")
    if given.rounds < 1 or not 0 < given.scale <= 100:
        parser.error("--rounds is 1 or more, --scale above 0 and at most 100")
    return given


def measure(given: argparse.Namespace) -> int:
    """The exit status: 0 when this service was measured, reached or not."""
    began = time.monotonic()
    works = [
        scaled(work, given.scale) for work in WORKS if not given.works or work.name in given.works
    ]
    load = building.load_generator()
    servers = available(given.servers)
    # This process puts load on the machine too: not where it is measured.
    os.sched_setaffinity(0, cores()[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = []
    with tempfile.TemporaryDirectory(prefix="wsservice-bench-") as folder:
        bench = Bench(Path(folder), load, given.scale)
        for work in works:
            print(f"{work.title} ({work.name}: {report.details(work)})", flush=True)
            results.append(run(bench, work, servers, given.rounds))
    table = report.target_rows(results, TITLES)
    if table:
        print(report.text(report.TARGETS_HEAD, table))
        print(report.counts(results))
    for line in report.losses(results, TITLES):
        print(f"peers do better: {line}")
    whole = not given.works and set(given.servers) == set(SERVERS) and given.scale >= 1
    if whole and given.rounds >= 3:
        write(results, servers, given.rounds, time.monotonic() - began)
    else:
        print("docs/benchmarks.md is written by a run of everything: three rounds, scale 1")
    return 1 if any(OURS in result.problems for result in results) else 0


def main() -> int:
    """As `measure`; 2 where it cannot be done, 130 where it was interrupted."""

    def terminated(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGHUP, terminated)
    given = parse()
    try:
        return measure(given)
    except BenchmarkError as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks: interrupted; every process was ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
