"""The files in which coverage keeps what each program has run, to be added up at the end.

A program that is killed while it writes its own leaves a part of one, of which coverage
would complain, and which it would leave where it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

UNMEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""Variables with which a program is not measured, which would slow it down."""


def remove_parts(folder: Path) -> None:
    """Remove what killed programs have left, so that the rest adds up without a word."""
    for path in folder.glob(".coverage.*"):
        if not _is_whole(path):
            path.unlink()


def _is_whole(path: Path) -> bool:
    """Whether it has all that coverage asks a file for before it reads the rest."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (checked,) = database.execute("pragma quick_check").fetchone()
            schema = database.execute("select version from coverage_schema").fetchone()
            database.execute("select value from meta")
            database.execute("select id, path from file")
    except sqlite3.DatabaseError:
        return False
    return checked == "ok" and schema is not None
