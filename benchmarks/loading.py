"""The load generator, or a client: told when to begin, asked what it measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .errors import MeasurementError
from .processes import last_words

TIMEOUT = 60
"""Seconds after which the load generator gives up."""


class Load:
    """The load generator, or a client, waiting for the word to begin."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, who: str) -> None:
        self.process = process
        self._folder = folder
        self._who = who
        self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise MeasurementError(f"{self._who}: {last_words(self._folder, 'load')}")
        said: dict[str, Any] = json.loads(line)
        return said

    def work(self) -> dict[str, Any]:
        """Do the work; returns what it measured. All connections are still open."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.result()

    def result(self) -> dict[str, Any]:
        """Return the measurements, for work that begins by itself."""
        return self._line()

    def end(self) -> None:
        """Close all connections."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            status = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            status = 1
        if status:
            raise MeasurementError(f"{self._who}: {last_words(self._folder, 'load')}")


class Lines:
    """How many lines have a mark, in a file that grows."""

    def __init__(self, path: Path, mark: bytes) -> None:
        self._path = path
        self._mark = mark
        self._place = 0
        self._tail = b""
        self._count = 0

    def count(self) -> int:
        """How many there are by now."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            while chunk := file.read(1024**2):
                self._place += len(chunk)
                chunk = self._tail + chunk
                self._count += chunk.count(self._mark)
                # A mark may lie across two chunks.
                self._tail = chunk[1 - len(self._mark) :]
        return self._count
