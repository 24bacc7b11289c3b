"""`python -m tests.hostile`: every row of the table of attacks, in full."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .harness import ROOT, ROWS, Alone, Result, Row, Told

DOCUMENT = ROOT / "docs" / "security.md"


def _load() -> list[Row | Alone]:
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


def _document(results: list[Result | Told]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("wsservice", "autobahn", "twisted"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return "\n".join(
        [
            "# Security",
            "",
            "Every attack that `make hostile` makes on `twistd wsdemo`, what the peer got, the",
            "bound, and what was measured. A turn is what the reactor does at one go, in CPU time;",
            "the neighbour is a client beside the attack that says a word every 5 ms: its round",
            f"trips are the median and the worst. Measured on {datetime.now(UTC):%Y-%m-%d}:",
            f"{versions}, {python}.",
            "",
            "| attack | what the peer got | bound | measured |",
            "| --- | --- | --- | --- |",
            *(
                f"| {each.row.name} | {each.got} | {each.row.bound} | {each.figures} |"
                for each in results
            ),
            "",
        ]
    )


def main() -> int:
    """The exit status: 0 if every bound held."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description="Attack a server of our own, and measure it."
    )
    parser.add_argument("rows", nargs="*", metavar="TEXT", help="only rows whose name has it")
    given = parser.parse_args()
    rows = [
        row
        for row in _load()
        if not given.rows
        or any(text in (row.name, row.theme) or text in row.name for text in given.rows)
    ]
    results: list[Result | Told] = []
    failed = 0
    for row in rows:
        result = _run(row)
        if result is None:
            print(f"FAILED  {row.name}", flush=True)
            failed += 1
            continue
        results.append(result)
        failed += bool(result.problems)
        said = f"FAILED  {result.problems}: " if result.problems else "ok      "
        print(f"{said}{row.name}: {result.got} ({row.bound}); {result.figures}", flush=True)
    print(f"{len(rows) - failed} of {len(rows)} rows held")
    if not given.rows and not failed:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(_document(results))
        print(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
