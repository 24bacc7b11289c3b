"""The lines that a worker writes past its log, and the end of its process, in words."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...escape import escape

_SHOWN = 500
"""The largest length, in characters, of a logged line of a worker's standard error."""

_log = Logger(namespace="wsservice")


class WorkerOutput:
    """Logs each line as one of `worker`, and keeps the last for the reason of its end."""

    def __init__(self, worker: object) -> None:
        self._worker = worker
        self._unread = {1: b"", 2: b""}
        self._last = ""

    def feed(self, descriptor: int, data: bytes) -> None:
        """Take octets of standard output, 1, or standard error, 2."""
        *lines, rest = (self._unread[descriptor] + data).split(b"\n")
        self._unread[descriptor] = rest[-_SHOWN:]
        for line in lines:
            self._says(line)

    def finish(self) -> None:
        """Take what has no end of line, since nothing more comes. Idempotent."""
        for rest in self._unread.values():
            self._says(rest)
        self._unread = {1: b"", 2: b""}

    def ending(self, reason: Failure) -> str:
        """Return how the process ended, in words, with the last line of one that failed."""
        how = _ending(reason)
        if self._last and not isinstance(reason.value, ProcessDone):
            how += f"; its last words: {self._last}"
        return how

    def _says(self, line: bytes) -> None:
        text = escape(line.decode(errors="replace").rstrip())[:_SHOWN]
        if text.strip():
            self._last = text.strip()
            _log.warn("{worker}: {text}", worker=str(self._worker), text=text)


def _ending(reason: Failure) -> str:
    """How a process ended, in words."""
    error: Any = reason.value
    if isinstance(error, ProcessDone):
        return "ended with status 0"
    number = getattr(error, "signal", None)
    if number is None:
        return f"ended with status {getattr(error, 'exitCode', None)}"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"was ended by signal {number}"
