"""`python -m tests.hostile`: every row of the table of attacks, in full.

The lines of rows that held are replaced in the page of measurements, one by one.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from .document import PAGE, known, line, page
from .harness import ROWS, Alone, Result, Row, Told


def load() -> list[Row | Alone]:
    """Return every row, each of which the test of it defines."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")
    return ROWS


def _run(row: Row | Alone) -> Result | Told | None:
    """A row's result, None where the attack did not go as it must."""
    result: Result | Told | None = None
    for _ in range(2):
        try:
            result = row.run(full=True)
        except Exception:
            traceback.print_exc()
            return None
        # Another's doing, perhaps: once more. What does not depend on time is final.
        if result.problems.hard or not result.problems.soft:
            break
    return result


def _write(result: Result | Told) -> None:
    """Put a result's line into the page, which others may write meanwhile."""
    with PAGE.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = known(file.read())
        lines[result.row.name] = line(result, f"{datetime.now(UTC):%Y-%m-%d}")
        file.truncate(0)
        file.write(page(ROWS, lines))


def main() -> int:
    """The exit status: 0 if every bound held."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description="Attack a server of our own, and measure it."
    )
    parser.add_argument("rows", nargs="*", metavar="TEXT", help="only rows whose name has it")
    given = parser.parse_args()
    rows = [
        row
        for row in load()
        if not given.rows
        or any(text in (row.name, row.theme) or text in row.name for text in given.rows)
    ]
    failed = 0
    for row in rows:
        result = _run(row)
        if result is None:
            print(f"FAILED  {row.name}", flush=True)
            failed += 1
            continue
        failed += bool(result.problems)
        if not result.problems:
            _write(result)
        said = f"FAILED  {result.problems}: " if result.problems else "ok      "
        print(f"{said}{row.name}: {result.got} ({row.bound}); {result.figures}", flush=True)
    print(f"{len(rows) - failed} of {len(rows)} rows held")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
