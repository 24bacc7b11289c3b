"""A few seconds of it, and that nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..integration.processes import wait_until
from ..needs import need, need_program

SECONDS = 8
PATIENCE = 400.0
"""Seconds that a run may take on a busy machine: it is over long before, nearly always."""

KEEPS_NOTHING, KEEPS_ALL = 7, 14
"""Seeds that have a Redis of either kind."""


class Run:
    """A driver as a process of its own, whose children are its own too."""

    def __init__(self, folder: Path, *options: str, program: str = "tests.chaos") -> None:
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, *options],
                cwd=Path(__file__).parents[2],
                env={**os.environ, "TMPDIR": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.folder = folder

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def left(self) -> list[str]:
        """Processes that have this run's folder in their command or are in it."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.folder) in os.readlink(each / "cwd"):
                    found.append((each / "cmdline").read_text().replace("\0", " "))
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    need(sys.platform == "linux", "Linux, for /proc")
    need_program("redis-server")
    runs: list[Run] = []
    yield runs
    for each in runs:
        each.end()


@pytest.mark.parametrize("seed", [KEEPS_NOTHING, KEEPS_ALL])
def test_all_promises_hold(runs: list[Run], tmp_path: Path, seed: int) -> None:
    run = Run(tmp_path, "--seed", str(seed), "--seconds", str(SECONDS))
    runs.append(run)
    run.process.wait(PATIENCE)
    assert run.process.returncode == 0, run.output
    deliveries = re.search(r"^deliveries (\d+)", run.output, re.MULTILINE)
    assert deliveries is not None, run.output
    assert int(deliveries[1]) > 200, run.output
    assert re.search(r"^faults [1-9]", run.output, re.MULTILINE), run.output
    assert not run.left


def test_it_ends_all_that_it_started_when_it_is_interrupted(
    runs: list[Run], tmp_path: Path
) -> None:
    run = Run(tmp_path, "--seed", "1", "--seconds", "60", "--faults", "stop-node", "stop-worker")
    runs.append(run)
    wait_until(lambda: "all is there" in run.output, "the start", PATIENCE)
    assert len(run.left) > 3
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE) == 2, run.output
    assert run.output.endswith("stopped\n")
    assert "Traceback" not in run.output
    assert not run.left


def test_a_fault_that_there_is_not_is_one_line(runs: list[Run], tmp_path: Path) -> None:
    run = Run(tmp_path, "--faults", "rain")
    runs.append(run)
    assert run.process.wait(PATIENCE) == 2
    assert run.output.startswith("--faults: unknown fault 'rain'; give kill-node, ")
    assert run.output.count("\n") == 1
