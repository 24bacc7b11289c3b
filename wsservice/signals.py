"""What SIGTERM, SIGINT, SIGUSR1 and SIGHUP do to a service."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

_log = Logger(namespace="wsservice")

_STANDARD = (0, 1, 2)
"""Standard input, output and error."""


@attrs.define
class Signals:
    """The handlers of a process that runs one service.

    SIGTERM and SIGINT stop the reactor, which drains the service, and the
    process ends with status 0: Twisted's own handlers make twistd and twist end
    by the signal. A second one ends the process at once, with status 128 and
    the signal's number. SIGUSR1 reopens the message log, then does what it did
    before (twistd rotates its own log). SIGHUP has the settings read anew; where
    it says that the terminal was closed, it stops the reactor, as it would others.
    """

    _reactor: Any
    _reopen: Callable[[], None]
    _finish: Callable[[], None]
    _reload: Callable[[], None]
    _exit: Callable[[int], Any] = os._exit
    _stopping: bool = False
    _terminals: list[int] = attrs.Factory(list)

    def install(self) -> None:
        """Take the others over. To be called once the reactor runs, after it took them itself."""
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
        # A daemon has none any more.
        self._terminals = [each for each in _STANDARD if os.isatty(each)]

    def take_hang_ups(self) -> None:
        """Take SIGHUP over. To be called before who sends it can know that the service is there.

        What it asks for is done once the reactor runs.
        """
        # nohup has it ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.hang_up)

    def hang_up(self, number: int, frame: FrameType | None) -> None:
        """Read the settings anew; stop where the terminal is gone."""
        if self._terminals and not any(map(os.isatty, self._terminals)):
            if not self._stopping:  # the kernel says so, and a shell may say it again
                self.stop(number, frame)
        else:
            self._reactor.callFromThread(self._reload_unless_stopping)

    def _reload_unless_stopping(self) -> None:
        if not self._stopping:
            self._reload()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop; the second time, at once."""
        if self._stopping:
            self._finish()
            self._exit(128 + number)
            return
        self._stopping = True
        self._reactor.callFromThread(self._stop_reactor, signal.Signals(number).name)

    def _stop_reactor(self, name: str) -> None:
        _log.info("{signal}: stopping, a second one ends at once", signal=name)
        with contextlib.suppress(ReactorNotRunning):  # it stops already
            self._reactor.stop()
