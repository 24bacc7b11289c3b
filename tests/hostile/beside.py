"""The neighbour's process, and how programs run beside an attack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Neighbour:
    """A client beside the attack."""

    def __init__(self, port: int, pids: list[int]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.neighbour", *map(str, (port, *pids))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise AssertionError("the neighbour could not connect")

    def end(self) -> dict[str, Any]:
        """End the measurement, and return its figures."""
        try:
            said, _ = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise AssertionError("the neighbour got no answer") from None
        if self._process.returncode:
            raise AssertionError(f"the neighbour was not served: {said}")
        figures: dict[str, Any] = json.loads(said)
        return figures

    def kill(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
