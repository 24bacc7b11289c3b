"""What SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 do to a service."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

_log = Logger(namespace="wsservice")


@attrs.define
class Signals:
    """The handlers of a process that runs one service.

    SIGTERM and SIGINT stop the reactor, which drains the service, and the
    process ends with status 0: Twisted's own handlers make twistd and twist end
    by the signal. A second one ends the process at once, with status 128 and
    the signal's number. SIGUSR1 reopens the message log, then does what it did
    before (twistd rotates its own log). SIGUSR2 replaces the workers.
    """

    _reactor: Any
    _reopen: Callable[[], None]
    _finish: Callable[[], None]
    _exit: Callable[[int], Any] = os._exit
    _roll: Callable[[], None] | None = None
    _stopping: bool = False

    def install(self) -> None:
        """Take the signals over. To be called once the reactor runs, after it took them itself."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # A shell starts what is in the background with SIGINT ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.stop)
        before = signal.getsignal(signal.SIGUSR1)

        def reopen(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(self._reopen)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGUSR1, reopen)
        signal.signal(signal.SIGUSR2, self._replace)

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop; the second time, at once."""
        if self._stopping:
            self._finish()
            self._exit(128 + number)
            return
        self._stopping = True
        self._reactor.callFromThread(self._stop_reactor, signal.Signals(number).name)

    def _replace(self, _number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._roll or _nothing_to_replace)

    def _stop_reactor(self, name: str) -> None:
        _log.info("{signal}: stopping, a second one ends at once", signal=name)
        with contextlib.suppress(ReactorNotRunning):  # it stops already
            self._reactor.stop()


def _nothing_to_replace() -> None:
    _log.warn("SIGUSR2: there are no workers to replace, --workers is 1")


def end_with(status: int) -> None:
    """Have the process end with this status, once all else is done that it does at its end."""

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)

    atexit.register(end)
