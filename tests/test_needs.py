from __future__ import annotations

import os
import shutil

import pytest

from .needs import need, need_program

MISSING = "no-program-has-this-name"


def test_a_program_that_is_there_is_given_by_its_path() -> None:
    found = need_program("sh")
    assert os.access(found, os.X_OK)
    assert found == shutil.which("sh")


def test_a_missing_program_skips_the_test_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTS_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        need_program(MISSING)
    assert str(skipped.value) == f"needs {MISSING}"


def test_a_missing_program_fails_the_test_where_all_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESTS_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception) as failed:
        need_program(MISSING)
    assert MISSING in str(failed.value)
    assert "\n" not in str(failed.value)


def test_what_is_there_neither_skips_nor_fails() -> None:
    need(True, "nothing")
