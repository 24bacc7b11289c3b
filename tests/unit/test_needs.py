from __future__ import annotations

import os
import shutil

import pytest

from ..needs import need, need_package, need_program, reason_to_skip_file

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


def test_a_package_that_is_there_neither_skips_nor_fails() -> None:
    need_package("pytest")


def test_a_missing_package_skips_the_test_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTS_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        need_package("no_package_has_this_name")
    assert str(skipped.value) == "needs the package no_package_has_this_name"


def import_failed(name: str) -> Exception:
    """Return pytest's exception for a test file that imports a missing module."""
    missing = ModuleNotFoundError(f"No module named {name!r}", name=name)
    failed = ValueError("cannot collect")
    failed.__cause__ = missing
    return failed


@pytest.mark.parametrize("name", ["hiredis", "prompt_toolkit.output", "selenium.webdriver"])
def test_a_file_that_imports_a_package_of_an_extra_is_skipped(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("TESTS_REQUIRE_ALL", raising=False)
    assert reason_to_skip_file(import_failed(name)) == f"needs the package {name.split('.')[0]}"


@pytest.mark.parametrize("name", ["wsservice.nonsense", "tests.nonsense", "nonsense", ""])
def test_a_file_that_imports_anything_else_fails(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("TESTS_REQUIRE_ALL", raising=False)
    assert reason_to_skip_file(import_failed(name)) is None


def test_where_all_is_required_a_file_without_its_package_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESTS_REQUIRE_ALL", "1")
    assert reason_to_skip_file(import_failed("hiredis")) is None


def test_without_an_error_or_for_another_one_no_file_is_skipped() -> None:
    assert reason_to_skip_file(None) is None
    assert reason_to_skip_file(ImportError("hiredis")) is None
