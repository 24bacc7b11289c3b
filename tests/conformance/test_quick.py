"""The suite itself, as `make conformance-quick` runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..needs import need
from .__main__ import ENVIRONMENT, ROOT
from .suite import NoSuiteError, find


@pytest.fixture(scope="module")
def _suite() -> None:
    try:
        find(ENVIRONMENT)
    except NoSuiteError as error:
        need(False, str(error))


@pytest.mark.usefixtures("_suite")
def test_groups_1_to_10_and_a_sample_of_the_others_are_strict_both_ways() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.conformance", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for name in ("server", "client"):
        assert f"{name}: 313 of 313 cases OK or INFORMATIONAL\n" in run.stdout


@pytest.mark.usefixtures("_suite")
def test_a_server_that_is_not_there_is_a_failure() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.conformance", "--url", "ws://127.0.0.1:1", "1.1.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode != 0
