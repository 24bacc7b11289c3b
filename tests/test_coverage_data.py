"""Of what killed programs leave, coverage is told nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from coverage import Coverage, CoverageData

from .coverage_data import remove_parts

UNFINISHED = {
    "nothing yet": "",
    "no schema": "create table other (id)",
    "a schema of no version": "create table coverage_schema (version integer)",
    "a version alone": (
        "create table coverage_schema (version integer); insert into coverage_schema values (7)"
    ),
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    data = CoverageData(basename=str(tmp_path / ".coverage"), suffix="whole")
    data.add_lines({str(Path(__file__)): [1, 2]})
    data.write()
    data.close()
    (path,) = tmp_path.glob(".coverage.*")
    return path


@pytest.mark.parametrize("script", UNFINISHED.values(), ids=UNFINISHED)
def test_what_is_not_whole_is_removed(whole: Path, script: str) -> None:
    part = whole.with_name(".coverage.part")
    with closing(sqlite3.connect(part)) as database:
        database.executescript(script)
    remove_parts(whole.parent)
    assert list(whole.parent.iterdir()) == [whole]


@pytest.mark.parametrize("size", [100, 5000])
def test_what_is_cut_off_is_removed(whole: Path, size: int) -> None:
    part = whole.with_name(".coverage.part")
    part.write_bytes(whole.read_bytes()[:size])
    remove_parts(whole.parent)
    assert list(whole.parent.iterdir()) == [whole]


def test_what_is_left_adds_up_without_a_warning(whole: Path) -> None:
    whole.with_name(".coverage.part").touch()
    remove_parts(whole.parent)
    # A warning of coverage's would be an error here.
    added = Coverage(data_file=str(whole.with_name(".coverage")), config_file=False)
    added.combine([str(whole.parent)])
    assert added.get_data().lines(__file__) == [1, 2]
