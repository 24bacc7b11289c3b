"""The command line: `python -m tests.chaos --seconds 600 --seed 1`.

The exit status is 0 where all promises held, 1 where one was broken, 2 where it could not be run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from . import report
from .processes import adopt_orphans
from .schedule import KINDS, Plan, plan
from .stage import stage


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Nodes and a Redis under random faults, held to what is promised.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="faults:\n" + "\n".join(f"  {kind:14}{what}" for kind, what in KINDS.items()),
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults go on")
    parser.add_argument("--seed", type=int, help="what all follows from (default: the time)")
    parser.add_argument(
        "--faults", nargs="+", metavar="FAULT", help="only these; !FAULT: all but this one"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs where all is well, too")
    return parser.parse_args(arguments)


def chosen(given: Sequence[str] | None) -> list[str]:
    """Return the kinds of faults that are asked for. Raises `ValueError`."""
    names = [name for each in given or () for name in each.replace(",", " ").split()]
    unknown = [name for name in names if name.removeprefix("!") not in KINDS]
    if unknown:
        raise ValueError(f"unknown fault {unknown[0]!r}; give {', '.join(KINDS)}")
    without = {name[1:] for name in names if name.startswith("!")}
    only = [name for name in names if not name.startswith("!")] or list(KINDS)
    return [kind for kind in KINDS if kind in only and kind not in without]


async def play(plan: Plan, seconds: float, folder: Path) -> int:
    """Run a plan; the exit status."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, this.cancel)
    began = time.monotonic()
    async with stage(plan, folder, say) as everything:
        await everything.run(seconds)
        ledger, faults = everything.ledger, everything.faults
    assert faults is not None
    for line in report.violations(plan, ledger, folder):
        say(line)
    for line in report.figures(plan, ledger, faults.done, time.monotonic() - began):
        say(line)
    say(report.row(plan, ledger, faults.done))
    return 1 if ledger.violations else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; the exit status."""
    asked = parse(arguments)
    try:
        kinds = chosen(asked.faults)
    except ValueError as error:
        print(f"--faults: {error}", file=sys.stderr)
        return 2
    seed = int(time.time()) if asked.seed is None else asked.seed
    made = plan(seed, asked.seconds, kinds)
    folder = Path(tempfile.mkdtemp(prefix="wsservice-chaos-"))
    say(f"seed {seed}: {made.topology}; logs in {folder}")
    adopt_orphans()
    status = 2
    try:
        status = asyncio.run(play(made, asked.seconds, folder))
    except asyncio.CancelledError:
        say("stopped")
    except TimeoutError as error:
        print(f"it could not be run: {error}; the logs are in {folder}", file=sys.stderr)
    except Exception:
        # A mistake of the driver's, or of the machine's, breaks no promise.
        traceback.print_exc()
        print(f"it could not be run to its end; the logs are in {folder}", file=sys.stderr)
    else:
        if status == 0 and not asked.keep:
            shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main())
