"""A few seconds of it, and that nothing stays behind."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..chaos.test_chaos import PATIENCE, Run
from ..integration.processes import wait_until
from ..needs import need

SECONDS = 3


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    need(sys.platform == "linux", "Linux, for /proc")
    runs: list[Run] = []
    yield runs
    for each in runs:
        each.end()


def test_all_promises_hold(runs: list[Run], tmp_path: Path) -> None:
    run = Run(tmp_path, "--seed", "1", "--seconds", str(SECONDS), program="tests.soak")
    runs.append(run)
    run.process.wait(PATIENCE)
    assert run.process.returncode == 0, run.output
    said = re.search(r": (\d+) honest acts and (\d+) hostile ones, ([\d,]+) conn", run.output)
    assert said is not None, run.output
    honest, hostile, connections = (int(each.replace(",", "")) for each in said.groups())
    assert honest >= 12, run.output
    assert hostile >= 10, run.output
    assert connections >= 50, run.output
    assert "Failures: 0. Answers of 500 or more: 0. Tracebacks in the log: 0." in run.output
    assert not run.left


def test_it_ends_all_that_it_started_when_it_is_interrupted(
    runs: list[Run], tmp_path: Path
) -> None:
    run = Run(tmp_path, "--seed", "1", "--workers", "2", program="tests.soak")
    runs.append(run)
    wait_until(lambda: "the load begins" in run.output, "the start", PATIENCE)
    assert run.left
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE) == 2, run.output
    assert run.output.endswith("stopped\n")
    assert "Traceback" not in run.output
    assert not run.left


def test_a_number_of_workers_that_cannot_be_is_refused(runs: list[Run], tmp_path: Path) -> None:
    run = Run(tmp_path, "--workers", "0", program="tests.soak")
    runs.append(run)
    assert run.process.wait(PATIENCE) == 2
    assert "--workers is 1 or more" in run.output
