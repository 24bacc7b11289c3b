"""The pages about attacks have every attack of `make hostile`, with its bound, and no others."""

from __future__ import annotations

import re
from typing import Any

from ..hostile.__main__ import load
from ..hostile.document import COLUMNS, PAGE, SECTIONS, known, line, page
from ..hostile.harness import Alone, Row, Told
from ..hostile.test_numbers import HEALTH, MEDIAN, WORST

ROWS: dict[str, Row | Alone] = {each.name: each for each in load()}
FIGURES = PAGE.read_text()
SECURITY = PAGE.with_name("security.md").read_text()


def sections(text: str) -> dict[str, dict[str, str]]:
    """The lines of each section's table, by heading."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return {
        heading: {
            name: cells for name, cells in known(body).items() if name not in (COLUMNS[0], "---")
        }
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_each_attack_is_measured_in_its_section() -> None:
    measured = sections(FIGURES)
    assert list(measured) == list(SECTIONS.values())
    for theme, heading in SECTIONS.items():
        assert list(measured[heading]) == [row.name for row in ROWS.values() if row.theme == theme]


def test_the_bound_of_a_row_is_the_attacks() -> None:
    told = known(FIGURES)
    assert [name for name, row in ROWS.items() if f" | {row.bound} | " not in told[name]] == []


def test_people_find_each_section() -> None:
    links = set(re.findall(r"\(hostile-figures\.md#([\w-]+)\)", SECURITY))
    assert links == {heading.lower().replace(" ", "-") for heading in SECTIONS.values()}


def test_people_are_told_the_bounds_of_a_neighbour() -> None:
    text = " ".join(SECURITY.split())
    assert f"{1000 * MEDIAN:g} ms of the server's CPU time in the median" in text
    assert f"{1000 * WORST:g} ms at worst" in text
    assert f"within {1000 * HEALTH:g} ms" in text


def test_a_line_is_replaced_and_the_others_stay() -> None:
    one, two = [row for row in ROWS.values() if row.theme == "test_many"][:2]
    lines = {each.name: line(told(each, "as before"), "2026-01-01") for each in (one, two)}
    before = page(ROWS.values(), lines)
    lines = known(before)
    lines[two.name] = line(told(two, "anew"), "2026-01-02")
    after = page(ROWS.values(), lines)
    assert before.replace(known(before)[two.name], lines[two.name]) == after
    assert "anew" in known(after)[two.name]


def told(row: Any, got: str) -> Told:
    return Told(row, got, 1.0)
