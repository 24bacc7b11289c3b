from __future__ import annotations

import json
from pathlib import Path

import pytest

from .summary import Case, Direction, markdown, read, table


def direction(*verdicts: tuple[str, str], expected: int | None = None) -> Direction:
    cases = tuple(Case(f"1.{n}", *each, 0.5) for n, each in enumerate(verdicts, 1))
    return Direction("server", cases, len(cases) if expected is None else expected)


def test_ok_and_informational_pass() -> None:
    assert direction(
        ("OK", "OK"), ("INFORMATIONAL", "INFORMATIONAL"), ("OK", "INFORMATIONAL")
    ).passed


@pytest.mark.parametrize("word", ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "UNCLEAN", "WRONG CODE"])
def test_anything_else_fails_in_behaviour_and_in_close_behaviour(word: str) -> None:
    assert not direction(("OK", "OK"), (word, "OK")).passed
    assert not direction(("OK", "OK"), ("OK", word)).passed


def test_a_missing_case_fails_and_is_said() -> None:
    lacking = direction(("OK", "OK"), expected=2)
    assert not lacking.passed
    assert lacking.line() == "server: 1 of 2 cases OK or INFORMATIONAL, 1 did not run"


def test_no_cases_at_all_fail() -> None:
    assert not direction().passed


def test_the_suites_reports_are_read_in_the_order_of_its_cases(tmp_path: Path) -> None:
    results = {
        name: {"behavior": "OK", "behaviorClose": "OK", "duration": 1500}
        for name in ("10.1.1", "2.10", "2.9")
    }
    (tmp_path / "index.json").write_text(json.dumps({"wsservice": results}))
    found = read("client", "wsservice", tmp_path, 3)
    assert [case.name for case in found.cases] == ["2.9", "2.10", "10.1.1"]
    assert found.cases[0].seconds == 1.5
    assert found.passed


def test_no_reports_are_no_cases(tmp_path: Path) -> None:
    assert not read("client", "wsservice", tmp_path, 3).passed


def test_the_tables_count_by_group_and_name_what_failed() -> None:
    shown = direction(("OK", "OK"), ("NON-STRICT", "OK"), ("OK", "UNCLEAN"))
    words = table(shown).splitlines()
    assert words[2].split()[:6] == ["1", "3", "1", "0", "1", "1"]
    assert words[-2:] == ["  1.2: NON-STRICT, close OK", "  1.3: OK, close UNCLEAN"]
    assert "| 1 | 3 | 1 | 0 | 1 | 1 | 0.50 s (1.1) |" in markdown(shown)
