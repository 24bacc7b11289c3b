"""Where the lines of the message log go: a file, a pipe, standard output."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

_BACKLOG = 4 * 1024 * 1024
"""Octets kept for a destination that takes no more for now, a pipe whose reader is slow."""

_RETRY = 0.05
"""Seconds after which such a destination is tried again."""

_LAST_CHANCE = 2.0
"""Seconds that it has to take the rest when the service stops."""

_log = Logger(namespace="wsservice")


class Destination(Protocol):
    """Where lines go."""

    #: Lines that could not be written.
    dropped: int

    @property
    def wanted(self) -> bool:
        """Whether lines that are written now reach anybody: else they need not be made."""

    def write(self, lines: bytes) -> None:
        """Take lines, at least one, each with its end, and put the time before each."""

    def reopen(self) -> None:
        """Begin anew at the same path, after the file was moved away."""

    def close(self) -> None:
        """Write what was taken, and end."""


def prefixed(prefix: bytes, lines: bytes) -> bytes:
    """Lines, each with its end, with `prefix` before each."""
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


class FileDestination:
    """A file or standard output.

    `name` is for people, `opener` gives a descriptor to write to, and is asked
    again at each `reopen`; `stamp` makes of the time what stands before a
    line. A destination that fails (a full disk, a closed pipe) is reported once;
    lines are counted as `dropped` until it works again, which is reported too.
    """

    wanted = True

    def __init__(
        self,
        name: str,
        opener: Callable[[], int],
        reactor: IReactorTime,
        stamp: Callable[[float], bytes],
    ) -> None:
        self._name = name
        self._opener = opener
        self._reactor = reactor
        self._descriptor = opener()
        self._rest = b""
        self._scheduled = False
        self._inside_line = False  # the last octet written did not end a line
        self._torn = False  # and the rest of that line was dropped
        self._failing = False
        self._stamp = stamp
        self.dropped = 0

    def write(self, lines: bytes) -> None:
        self._put(prefixed(self._stamp(self._reactor.seconds()), lines))

    def reopen(self) -> None:
        self._put(b"")
        try:
            descriptor = self._opener()
        except OSError as error:
            _log.error(
                "message log {name}: cannot be reopened, {reason}; the old one stays in use",
                name=self._name,
                reason=error.strerror,
            )
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    def close(self) -> None:
        self._put(b"")
        # The reactor ends: a pipe that is full gets a last, bounded chance.
        deadline = self._reactor.seconds() + _LAST_CHANCE
        room = select.poll()  # not select, which knows no descriptors from 1,024 on
        room.register(self._descriptor, select.POLLOUT)
        while self._rest and (left := deadline - self._reactor.seconds()) > 0:
            if not room.poll(left * 1000):
                break
            self._put(b"")
        if self._rest:
            self._fail(BlockingIOError(errno.EAGAIN, "its reader is too slow"), self._rest)
            self._rest = b""

    def _turn(self) -> None:
        self._scheduled = False
        self._put(b"")

    def _put(self, lines: bytes) -> None:
        data = b"".join((b"\n" if self._torn else b"", self._rest, lines))
        self._rest = b""
        if len(data) <= self._torn:
            return
        start = 0
        trouble: OSError | None = None
        try:
            while start < len(data):
                start += os.write(self._descriptor, data[start:] if start else data)
        except OSError as error:
            trouble = error
        if start:
            self._inside_line = data[start - 1] != 0x0A
        if trouble is None:
            self._torn = False
            self._recover()
        elif isinstance(trouble, BlockingIOError):
            self._torn = False
            self._keep(data[start:])
        else:
            lost = data[start:]
            if self._torn and not start:
                lost = lost[1:]
            self._torn = self._inside_line
            self._fail(trouble, lost)

    def _keep(self, rest: bytes) -> None:
        if len(rest) > _BACKLOG:
            end = rest.rfind(b"\n", 0, _BACKLOG) + 1
            self._fail(BlockingIOError(errno.EAGAIN, "its reader is too slow"), rest[end:])
            self._torn = self._inside_line and not end
            rest = rest[:end]
        self._rest = rest
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(_RETRY, self._turn)

    def _fail(self, error: OSError, lost: bytes) -> None:
        self.dropped += lost.count(b"\n")
        if not self._failing:
            self._failing = True
            _log.error(
                "message log {name}: {reason}; lines are dropped until it works again",
                name=self._name,
                reason=error.strerror,
            )

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            _log.info(
                "message log {name}: works again; {dropped} lines were dropped so far",
                name=self._name,
                dropped=self.dropped,
            )


class StandardOutput(FileDestination):
    """Standard output. A pipe that nobody reads does not block the service."""

    def __init__(self, reactor: IReactorTime, stamp: Callable[[float], bytes]) -> None:
        super().__init__("standard output", _open_standard_output, reactor, stamp)

    def reopen(self) -> None:
        """There is no path at which to begin anew."""


def _open_standard_output() -> int:
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        # Whether writing may block is a matter of the open file, which others
        # share with us: so it is opened again, which only a pipe allows without
        # losing the place where it is written. Fails where nobody reads any more.
        with contextlib.suppress(OSError):
            return os.open("/dev/stdout", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(1)
