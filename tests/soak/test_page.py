"""docs/soak.md has the acts that there are, and the charts that it shows."""

from __future__ import annotations

import re

from benchmarks.document import part

from .__main__ import DOCUMENT
from .schedule import HONEST, HOSTILE
from .verdict import JUDGED, STEEPEST

_TEXT = DOCUMENT.read_text()


def test_the_page_has_each_act_and_what_it_is() -> None:
    for name, kinds in (("honest", HONEST), ("hostile", HOSTILE)):
        rows = re.findall(r"^\| (\S+) \| (.+) \| ([\d,]+) \|$", part(_TEXT, name), re.MULTILINE)
        assert [row[:2] for row in rows] == [(kind, each.what) for kind, each in kinds.items()]
        assert all(count != "0" for _, _, count in rows)


def test_the_page_shows_charts_that_are_there() -> None:
    shown = re.findall(r"!\[.+\]\((.+)\)", _TEXT)
    assert shown
    for name in shown:
        chart = (DOCUMENT.parent / name).read_text()
        assert chart.startswith("<?xml")
        assert "resident memory" in chart


def test_the_page_says_the_bounds_that_hold() -> None:
    assert f"grows by at most {STEEPEST:g} MiB an hour" in _TEXT
    assert f"less than {2 * JUDGED / 60:.0f} minutes" in _TEXT.replace("ten", "10")
