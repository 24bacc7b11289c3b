"""Show the program's face to a script: lines in, payloads out."""

from __future__ import annotations

import contextlib
import sys

from twisted.internet.defer import Deferred

from ..client.outbox import messages
from .printing import as_printed, for_people
from .session import Session
from .status import Status
from .terminal import LineReader, Output


def say(text: str) -> None:
    """Write one line to standard error, if it is open."""
    # A closed standard error means that nobody wants these lines.
    with contextlib.suppress(AttributeError, OSError):
        sys.stderr.write(f"wsservice.client: {text}\n")
        sys.stderr.flush()


class Script:
    """Send the lines of standard input, and print messages to standard output."""

    def __init__(self) -> None:
        self._lines = 0
        self._output: Output | None = None

    def opened(self, session: Session) -> None:
        if self._output is not None:
            kept = f", sending {messages(session.kept)} that waited" if session.kept else ""
            self.say(f"connected again{kept}")
            return
        self._session = session
        command = session.command
        self._form, self._end = command.binary, command.end
        self._output = Output(
            session.reactor, 1, session.output_full, session.output_has_room, session.output_failed
        )
        self._print = for_people if self._output.is_terminal else as_printed
        reader = LineReader(session.reactor, 0, self._send_lines, self._input_ended, command.end)
        session.feed_from(reader)
        reader.start()

    def received(self, payload: bytes, is_binary: bool) -> None:
        if self._output is not None:
            self._output.write(self._print(payload, is_binary, self._form) + self._end)

    def say(self, text: str) -> None:
        say(text)

    def mention(self, text: str) -> None:
        """Do nothing: a script reads the exit status."""

    def ended(self) -> Deferred[None] | None:
        """Fire when everything is printed."""
        return None if self._output is None else self._output.written()

    def _send_lines(self, lines: list[bytes]) -> None:
        good = _texts(lines)
        self._lines += len(good)
        self._session.send_all([(line, False) for line in good])
        if len(good) < len(lines):
            what = "line" if self._end == b"\n" else "message"
            problem = f"{what} {self._lines + 1} of standard input is not UTF-8 text"
            self._session.fail(Status.USAGE, problem)

    def _input_ended(self, problem: str) -> None:
        if problem:
            self._session.fail(Status.USAGE, f"standard input {problem}")
        else:
            self._session.input_ended()


def _texts(lines: list[bytes]) -> list[bytes]:
    """Return the lines before the first that is not UTF-8."""
    # One attempt for all lines is fast: a line never ends within a character.
    with contextlib.suppress(UnicodeDecodeError):
        b"\n".join(lines).decode()
        return lines
    for number, line in enumerate(lines):
        try:
            line.decode()
        except UnicodeDecodeError:
            return lines[:number]
    return lines  # pragma: no cover - one of them is not
