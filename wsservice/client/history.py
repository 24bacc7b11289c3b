"""What was typed at the prompt, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_LONGEST = 16 * 1024
"""Octets of a line that is kept."""

_MOST = 256 * 1024
"""Octets of the newest lines that are read; a file twice as long is cut to them."""


def history_path(environment: Mapping[str, str]) -> Path | None:
    """Where the history is kept (XDG Base Directory), None without a place for it."""
    state = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # to be ignored then, says the specification
        home = environment.get("HOME", "")
        if not os.path.isabs(home):
            return None
        state = os.path.join(home, ".local", "state")
    return Path(state) / "wsservice" / "history"


class HistoryFile:
    """Lines in a file that only its owner reads, the newest last.

    A line may have line feeds in it: they are written as `\\n`, and a backslash
    as two. Methods raise `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[str]:
        """The lines that are kept, the oldest first."""
        try:
            octets = self._path.read_bytes()
        except FileNotFoundError:
            return []
        if len(octets) > 2 * _MOST:
            self._replace(_newest(octets))
        lines = _newest(octets).decode(errors="replace").split("\n")
        return [_unescaped(line) for line in lines if line]

    def append(self, text: str) -> None:
        """Keep one, unless it is of those that are not."""
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
    """Whether it may be kept: as in a shell, not what begins with a space."""
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
