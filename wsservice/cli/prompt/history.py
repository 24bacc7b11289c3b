"""Keep the lines that were entered at the prompt in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_LONGEST = 16 * 1024
"""The most characters of a line that is kept."""

_MOST = 256 * 1024
"""Octets of the newest lines that are read. A file twice as long is cut to them."""


def history_path(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the history (XDG Base Directory); None without a home."""
    state = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # to be ignored then, says the specification
        home = environment.get("HOME", "")
        if not os.path.isabs(home):
            return None
        state = os.path.join(home, ".local", "state")
    return Path(state) / "wsservice" / "history"


class HistoryFile:
    """Lines in a file that only its owner can read, the newest last.

    A line feed in a line is written as `\\n`, a carriage return as `\\r`, and a backslash as two.
    Methods raise `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[str]:
        """Return the kept lines, the oldest first."""
        try:
            octets = self._path.read_bytes()
        except FileNotFoundError:
            return []
        if len(octets) > 2 * _MOST:
            self._replace(_newest(octets))
        lines = _newest(octets).decode(errors="replace").split("\n")
        return [_unescaped(line) for line in lines if line]

    def append(self, text: str) -> None:
        """Add a line, if `is_kept` allows it."""
        if is_kept(text):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(self._open(self._path, os.O_APPEND), "ab") as file:
                file.write(_escaped(text).encode(errors="replace") + b"\n")

    def _replace(self, octets: bytes) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with os.fdopen(self._open(fresh, os.O_TRUNC), "wb") as file:
            file.write(octets)
        fresh.replace(self._path)

    def _open(self, path: Path, how: int) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        os.fchmod(descriptor, 0o600)  # it may have been there before
        return descriptor


def is_kept(text: str) -> bool:
    """Return True for a line to keep.

    As in a shell, a line that begins with a space is not kept.
    """
    return bool(text) and text[0] != " " and len(text) <= _LONGEST


def _newest(octets: bytes) -> bytes:
    if len(octets) <= _MOST:
        return octets
    return octets[-_MOST:].partition(b"\n")[2]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _unescaped(line: str) -> str:
    parts = line.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)
