"""The command line: `python -m tests.soak --seconds 1800 --seed 1`.

The exit status is 0 where all promises held, 1 where one was broken, 2 where it could not be run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import building, machine
from benchmarks.document import with_part
from benchmarks.errors import BenchmarkError

from ..chaos.processes import ROOT, adopt_orphans
from . import report
from .schedule import HONEST, HOSTILE, KINDS, plan
from .stage import stage
from .verdict import Run, findings

DOCUMENT = ROOT / "docs" / "soak.md"
RECORD = "run.json"


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="One service under honest and hostile load for a given time.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="acts:\n" + "\n".join(f"  {name:14}{kind.what}" for name, kind in KINDS.items()),
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the load goes on")
    parser.add_argument("--seed", type=int, help="what all follows from (default: the time)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    parser.add_argument(
        "--write", action="store_true", help="write the run and its chart into docs/soak.md"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help=f"show the run of a {RECORD}, run nothing"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs where all is well, too")
    given = parser.parse_args(arguments)
    if given.workers < 1 or not 1 <= given.seconds <= 7 * 24 * 3600:
        parser.error("--workers is 1 or more, --seconds from 1 to 604800")
    return given


async def play(seed: int, seconds: float, workers: int, folder: Path) -> Run:
    """Run it; all that was seen."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, this.cancel)
    acts = plan(seed, seconds)
    async with stage(folder, workers, say) as everything:
        say(f"the load begins: {len(acts)} acts in {seconds:g} s")
        run = await everything.run(seed, acts, seconds)
    (folder / RECORD).write_text(report.to_json(run))
    return run


def write(run: Run) -> None:
    """Write a run into the page, and draw its chart."""
    name = "one process" if run.workers == 1 else "workers"
    chart = DOCUMENT.with_name("soak.svg" if run.workers == 1 else "soak-workers.svg")
    processes = "one process" if run.workers == 1 else f"{run.workers} workers"
    facts = (
        f"Run on {datetime.now(UTC):%Y-%m-%d}: {machine.processor()}, {machine.kernel()},"
        f" {machine.python()}, {processes}."
    )
    document = with_part(DOCUMENT.read_text(), name, report.page_part(run, facts, chart.name))
    if run.workers == 1:
        for part, kinds in (("honest", HONEST), ("hostile", HOSTILE)):
            document = with_part(document, part, report.table(report.done(run, kinds)))
    DOCUMENT.write_text(document)
    say(f"written: {DOCUMENT.relative_to(ROOT)}")
    building.python_peers()
    subprocess.run(
        [building.PEERS_PYTHON, Path(__file__).with_name("chart.py"), chart],
        input=json.dumps(report.chart(run)),
        text=True,
        check=True,
    )
    say(f"written: {chart.relative_to(ROOT)}")


def judge(run: Run) -> int:
    """Say how a run went; the exit status."""
    for line in report.terminal(run):
        say(line)
    for line in report.verdict(run):
        say(line)
    return 1 if list(findings(run)) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; the exit status."""
    asked = parse(arguments)
    if asked.record is not None:
        run = report.from_json(asked.record.read_text())
        status = judge(run)
        return _written(run, status) if asked.write else status
    seed = int(time.time()) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="wsservice-soak-"))
    say(f"seed {seed}, {asked.workers} workers; logs in {folder}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    adopt_orphans()
    try:
        run = asyncio.run(play(seed, asked.seconds, asked.workers, folder))
    except asyncio.CancelledError:
        say("stopped")
        return 2
    except TimeoutError as error:
        print(f"it could not be run: {error}; the logs are in {folder}", file=sys.stderr)
        return 2
    except Exception:
        # A mistake of the driver's, or of the machine's, breaks no promise.
        traceback.print_exc()
        print(f"it could not be run to its end; the logs are in {folder}", file=sys.stderr)
        return 2
    status = judge(run)
    if asked.write:
        status = _written(run, status)
    if status == 0 and not asked.keep:
        shutil.rmtree(folder)
    else:
        say(f"the logs are in {folder}, the samples in {RECORD} there")
    return status


def _written(run: Run, status: int) -> int:
    """Write a run; the status, or 2 where that could not be done."""
    try:
        write(run)
    except (BenchmarkError, OSError, subprocess.CalledProcessError) as error:
        print(f"it could not be written: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
