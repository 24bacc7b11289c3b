"""Destinations for the lines of the message log: a file, a pipe, standard output."""

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

from ..clock import monotonic_of, wall_of

_BACKLOG = 4 * 1024 * 1024
"""Octets kept while a destination takes no more, such as a pipe whose reader is slow."""

_RETRY = 0.05
"""Seconds between two attempts to write to such a destination."""

_LAST_CHANCE = 2.0
"""Seconds to wait, when the service stops, for a destination to take the rest."""

_log = Logger(namespace="wsservice")


class Destination(Protocol):
    """A destination of lines."""

    #: The number of lines that could not be written.
    dropped: int

    @property
    def wanted(self) -> bool:
        """Return True if lines written now reach a reader; if False, skip making them."""

    def write(self, lines: bytes) -> None:
        """Write one or more lines, each with its line end. Put the time before each."""

    def reopen(self) -> None:
        """Open the same path again, after the file was moved away."""

    def close(self) -> None:
        """Write the lines that wait, and close."""


def prefixed(prefix: bytes, lines: bytes) -> bytes:
    """Return lines, each with its line end, with `prefix` before each."""
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


class FileDestination:
    """A file or standard output.

    `name` stands in messages of the log. `opener` returns a descriptor to write to, now and at
    each `reopen`. `stamp` returns the prefix of a line for a time, in seconds since 1970. The
    first error of a destination (a full disk, a closed pipe) is logged; then lines are counted
    as `dropped` until it works again, which is logged too.
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
        self._monotonic = monotonic_of(reactor)
        self._wall = wall_of(reactor)
        self._descriptor = opener()
        self._rest = b""
        self._scheduled = False
        self._inside_line = False  # True after a write that did not end a line
        self._torn = False  # True if the rest of that line was dropped
        self._failing = False
        self._stamp = stamp
        self.dropped = 0

    def write(self, lines: bytes) -> None:
        self._put(prefixed(self._stamp(self._wall()), lines))

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
        # The reactor is ending, so wait here, for a bounded time, for a full pipe to be read.
        deadline = self._monotonic() + _LAST_CHANCE
        room = select.poll()  # select cannot take descriptors from 1,024 on
        room.register(self._descriptor, select.POLLOUT)
        while self._rest and (left := deadline - self._monotonic()) > 0:
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
    """Standard output. A pipe without a reader does not block the service."""

    def __init__(self, reactor: IReactorTime, stamp: Callable[[float], bytes]) -> None:
        super().__init__("standard output", _open_standard_output, reactor, stamp)

    def reopen(self) -> None:
        """Do nothing: standard output has no path to open again."""


def _open_standard_output() -> int:
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        # O_NONBLOCK belongs to the open file, which other processes share. So open the pipe
        # anew; another kind of file would lose its write position. This fails for a pipe
        # without a reader.
        with contextlib.suppress(OSError):
            return os.open("/dev/stdout", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(1)
