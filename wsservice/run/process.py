"""The signals of a service: SIGTERM, SIGINT, SIGUSR1, SIGUSR2 and SIGHUP."""

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

_STANDARD = (0, 1, 2)
"""Standard input, output and error."""


class Held:
    """Remembers SIGHUP, SIGUSR1 and SIGUSR2 that come before `Signals` has its handlers.

    By default each of them ends a process, so a log rotation or a reload during the start would
    end the service. Instead `Signals` acts on them once the service runs, unless the start itself
    has done the same.
    """

    def __init__(self) -> None:
        self._came: set[int] = set()
        #: The handler of twistd for SIGUSR1: it rotates the log.
        self.before: Any = None
        self._terminals: list[int] = []

    def __bool__(self) -> bool:
        """Return False: twistd takes SIGUSR1 for its log only if the handler is false."""
        return False

    def take(self) -> None:
        """Take the signals over. Idempotent."""
        self._terminals = [each for each in _STANDARD if os.isatty(each)]
        # Under nohup it is ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self)

    def chain(self) -> None:
        """Take SIGUSR1 over again, after twistd opened its log and took it."""
        before = signal.getsignal(signal.SIGUSR1)
        if before is not self:
            self.before = before
            signal.signal(signal.SIGUSR1, self)

    def forget(self) -> None:
        """Forget the signals that came so far: settings are read, and logs opened, only now."""
        self._came.clear()

    def came(self, number: int) -> bool:
        """Return True if a signal came since `forget`."""
        return number in self._came

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and _are_gone(self._terminals):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._came.add(number)
        if number == signal.SIGUSR1 and callable(self.before):
            self.before(number, frame)


HELD = Held()
"""The instance of this process."""


def _are_gone(terminals: list[int]) -> bool:
    """Return True if there were terminals, and all of them are gone."""
    return bool(terminals) and not any(map(os.isatty, terminals))


@attrs.define
class Signals:
    """The handlers of a process that runs one service.

    - SIGTERM and SIGINT stop the reactor, which drains the service, and the process ends with
      status 0. With Twisted's own handlers, twistd and twist would end by the signal. A second
      signal ends the process at once, with status 128 plus the signal's number.
    - SIGUSR1 reopens the message log, then calls the handler before it (twistd rotates its log).
    - SIGUSR2 replaces the workers.
    - SIGHUP reads the settings again. If the terminal was closed, it stops the reactor instead.
    """

    _reactor: Any
    _reopen: Callable[[], None]
    _finish: Callable[[], None]
    _reload: Callable[[], None]
    _exit: Callable[[int], Any] = os._exit
    _roll: Callable[[], None] | None = None
    _stopping: bool = False
    _terminals: list[int] = attrs.Factory(list)
    _held: Held = attrs.field(default=HELD)

    def install(self) -> None:
        """Install all handlers but SIGHUP's. Call this after the reactor installed its own."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # A shell starts background programs with SIGINT ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.stop)
        before: Any = signal.getsignal(signal.SIGUSR1)
        if before is self._held:
            before = self._held.before

        def reopen(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(self._reopen)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGUSR1, reopen)
        signal.signal(signal.SIGUSR2, self._replace)
        if self._held.came(signal.SIGUSR1):
            # twistd rotated its log when the signal came.
            self._reactor.callFromThread(self._reopen)
        # A SIGUSR2 before this needs no action: the workers are only being started now.
        # A daemon has no terminal any more.
        self._terminals = [each for each in _STANDARD if os.isatty(each)]

    def take_hang_ups(self) -> None:
        """Take SIGHUP over. Call this before the service announces that it is there.

        The settings are read again once the reactor runs.
        """
        # Under nohup it is ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.hang_up)
        if self._held.came(signal.SIGHUP):
            self._reactor.callFromThread(self._reload_unless_stopping)

    def hang_up(self, number: int, frame: FrameType | None) -> None:
        """Read the settings again, or stop if the terminal is gone."""
        if _are_gone(self._terminals):
            if not self._stopping:  # the kernel sends it, and a shell may send it again
                self.stop(number, frame)
        else:
            self._reactor.callFromThread(self._reload_unless_stopping)

    def _reload_unless_stopping(self) -> None:
        if not self._stopping:
            self._reload()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop the reactor; the second time, end the process at once."""
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
    """Make the process end with this status, after everything else that it does at its end."""

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)

    atexit.register(end)
