"""A wall clock that a test sets while programs run, by libfaketime. Other clocks stay right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..needs import need

_PLACES = ["/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime"]
_NAME = "libfaketimeMT.so.1"


class WallClock:
    """The wall clock of the programs that are started with its `environment`."""

    def __init__(self, folder: Path, library: str) -> None:
        self._file = folder / "wall-clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": library,
            # By default it sets the monotonic clock too.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # Otherwise the file is read again after ten seconds only.
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, ahead: int) -> None:
        """Set it so many seconds ahead of what is right, or back where that is negative."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}\n")
        os.replace(fresh, self._file)


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    found = [each for place in _PLACES for each in Path("/").glob(f"{place[1:]}/{_NAME}")]
    need(bool(found), "libfaketime")
    return WallClock(tmp_path, str(found[0]))
