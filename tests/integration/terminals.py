"""A person at a terminal: types, and sees a screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyte

from .processes import PATIENCE, wait_until

_PLAIN = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_COLOR": "", "PYTHONWARNINGS": "default"}


class Person:
    """Runs `python -m wsservice.client` at a terminal of its own, and looks at it."""

    def __init__(
        self,
        *arguments: str,
        state: Path,
        rows: int = 24,
        columns: int = 80,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.seen = bytearray()
        self._looked_at = 0
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._ours, self._theirs = pty.openpty()
        self._set_size(rows, columns)
        self._before = self._settings()
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "wsservice.client", *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            # So that it is told of the window's size, and its end.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            cwd=state,
            env={**os.environ, **_PLAIN, "XDG_STATE_HOME": str(state), **(environment or {})},
        )
        self._looks = True
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """Return the lines of the screen, without empty lines and times."""
        with self._lock:
            self._stream.feed(bytes(self.seen[self._looked_at :]))
            self._looked_at = len(self.seen)
            return [_without_time(line) for line in self.screen.display if line.strip()]

    def looks_away(self) -> None:
        """Read the output without drawing it: a flood would take long."""
        with self._lock:
            self._looked_at = len(self.seen)
            self.screen.reset()

    def sees(self, *lines: str, patience: float = PATIENCE) -> None:
        """Wait until these are the last lines on the screen."""
        try:
            wait_until(lambda: self.lines[-len(lines) :] == list(lines), "the screen", patience)
        except AssertionError:
            raise AssertionError(f"not {lines}, but\n" + "\n".join(self.lines)) from None

    def stops_looking(self) -> None:
        """Read nothing more of what is printed."""
        self._looks = False
        self._reader.join(PATIENCE)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def enters(self, *lines: str) -> None:
        for line in lines:
            self.types(f"{line}\r")

    def resizes(self, rows: int, columns: int) -> None:
        """Pull at the window."""
        with self._lock:
            self.screen.resize(rows, columns)
            self.screen.reset()
        self._set_size(rows, columns)

    def leaves(self) -> None:
        """Close the window."""
        self.stops_looking()
        for descriptor in (self._theirs, self._ours):
            os.close(descriptor)
        self._ours = self._theirs = -1

    def wait(self, patience: float = PATIENCE) -> int:
        """The program's exit status. The terminal is as it was."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError("did not end:\n" + "\n".join(self.lines)) from None
        if self._ours >= 0:
            assert self._settings() == self._before
            self.stops_looking()
            assert self.lines is not None
            assert not self.screen.cursor.hidden
            assert b"\x1b[?2004h" not in self.seen.rpartition(b"\x1b[?2004l")[2]
        return status

    def end(self) -> None:
        """End all, in whatever state."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stops_looking()
        if self._ours >= 0:
            self.leaves()

    def _settings(self) -> Any:
        return termios.tcgetattr(self._theirs)

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        while select.select([self._ours], [], [], 0.02)[0] or self._looks:
            if select.select([self._ours], [], [], 0)[0]:
                octets = os.read(self._ours, 65536)
                with self._lock:
                    self.seen += octets


def _without_time(line: str) -> str:
    first, space, rest = line.rstrip().partition(" ")
    return rest if space and len(first) == 8 and first.count(":") == 2 else line.rstrip()


class People:
    """Those at terminals, who all leave in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._people: list[Person] = []

    def person(self, *arguments: str, **how: Any) -> Person:
        """One more."""
        person = Person(*arguments, state=self.folder, **how)
        self._people.append(person)
        return person

    def end(self) -> None:
        for person in self._people:
            person.end()
