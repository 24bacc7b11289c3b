"""The message log: one line for each message that came in.

A line ends in `Message received: ` and the message. Before that stand the
time, the connection's id and its peer. Nothing in a message can start a
second line, move a cursor or change a colour.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, formatTime

from .config import Config
from .errors import JournalError
from .escape import escape, escape_within

_BATCH = 256 * 1024
"""Octets after which a batch is written without waiting for the reactor's turn to end."""

_BACKLOG = 4 * 1024 * 1024
"""Octets kept for a destination that takes no more for now, a pipe whose reader is slow."""

_RETRY = 0.05
"""Seconds after which such a destination is tried again."""

_LAST_CHANCE = 2.0
"""Seconds that it has to take the rest when the service stops."""

_log = Logger(namespace="wsservice")
_decoder = codecs.getincrementaldecoder("utf-8")


def describe(payload: bytes, isBinary: bool, limit: int) -> str:
    """A message as it stands in its line.

    At most `limit` octets of it are shown, escaped, with the full size told
    where that is not all: text as it is, binary as its size and hex digits.
    0 tells sizes only.
    """
    size = len(payload)
    octets = "1 byte" if size == 1 else f"{size} bytes"
    if isBinary:
        if not limit:
            return f"(binary, {octets})"
        shown = payload[: limit // 2]
        dots = "..." if len(shown) < size else ""
        return f"(binary, {octets}) {shown.hex()}{dots}"
    if not limit:
        return f"({octets})"
    # Not final: a code point that the cut went through is left out. What is
    # not UTF-8, from a behaviour that logs something of its own, shows as
    # escaped surrogates.
    text = _decoder("surrogateescape").decode(payload[:limit], size <= limit)
    escaped, cut = escape_within(text, limit)
    return f"{escaped}... ({octets})" if cut or size > limit else escaped


class Destination(Protocol):
    """Where lines go."""

    def write(self, line: str) -> None:
        """Take a line, without its end."""

    def reopen(self) -> None:
        """Begin anew at the same path, after the file was moved away."""

    def close(self) -> None:
        """Write what was taken, and end."""


class Journal:
    """Writes the line of each message to a destination.

    `limit` is how many octets of a message are shown, `Config.log_payload`.
    """

    def __init__(self, destination: Destination, limit: int) -> None:
        self._write = destination.write
        self._limit = limit
        self.reopen = destination.reopen
        self.close = destination.close

    def received(self, who: str, payload: bytes, isBinary: bool) -> None:
        """Log a message. `who` names the connection: its id and peer, printable."""
        self._write(f"[{who}] Message received: {describe(payload, isBinary, self._limit)}")


class LogDestination:
    """Twisted's log, with the rest."""

    def write(self, line: str) -> None:
        _log.info("{line}", line=line)

    def reopen(self) -> None:
        """Twisted's log is reopened by whoever opened it."""

    def close(self) -> None:
        """Twisted's log is closed by whoever opened it."""


class FileDestination:
    """A file or standard output, written in batches: one write for each turn of the reactor.

    `name` is for people, `opener` gives a descriptor to write to, and is asked
    again at each `reopen`. A destination that fails (a full disk, a closed
    pipe) is reported once; lines are counted as `dropped` until it works
    again, which is reported too.
    """

    def __init__(self, name: str, opener: Callable[[], int], reactor: IReactorTime) -> None:
        self._name = name
        self._opener = opener
        self._reactor = reactor
        self._descriptor = opener()
        self._lines: list[bytes] = []
        self._size = 0
        self._rest = b""
        self._scheduled = False
        self._inside_line = False  # the last octet written did not end a line
        self._torn = False  # and the rest of that line was dropped
        self._failing = False
        self._stamp = ("", -1)
        self.dropped = 0

    def write(self, line: str) -> None:
        now = int(self._reactor.seconds())
        if self._stamp[1] != now:
            self._stamp = (formatTime(now), now)
        octets = f"{self._stamp[0]} {line}\n".encode()
        self._lines.append(octets)
        self._size += len(octets)
        if self._size > _BATCH:
            self._flush()
        elif not self._scheduled:
            self._schedule(0)

    def reopen(self) -> None:
        self._flush()
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
        self._flush()
        # The reactor ends: a pipe that is full gets a last, bounded chance.
        deadline = self._reactor.seconds() + _LAST_CHANCE
        while self._rest and (left := deadline - self._reactor.seconds()) > 0:
            if not select.select([], [self._descriptor], [], left)[1]:
                break
            self._flush()
        if self._rest:
            self._fail(BlockingIOError(errno.EAGAIN, "its reader is too slow"), self._rest)
            self._rest = b""

    def _schedule(self, delay: float) -> None:
        self._scheduled = True
        self._reactor.callLater(delay, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        data = b"".join((b"\n" if self._torn else b"", self._rest, *self._lines))
        self._rest = b""
        self._lines.clear()
        self._size = 0
        if len(data) <= self._torn:
            return
        start = 0
        trouble: OSError | None = None
        try:
            while start < len(data):
                start += os.write(self._descriptor, data[start:])
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
            self._schedule(_RETRY)

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

    def __init__(self, reactor: IReactorTime) -> None:
        super().__init__("standard output", _open_standard_output, reactor)

    def reopen(self) -> None:
        """Write what was taken: there is no path at which to begin anew."""
        self._flush()


def _open_standard_output() -> int:
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        # Whether writing may block is a matter of the open file, which others
        # share with us: so it is opened again, which only a pipe allows without
        # losing the place where it is written. Fails where nobody reads any more.
        with contextlib.suppress(OSError):
            return os.open("/dev/stdout", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(1)


def open_journal(config: Config, reactor: IReactorTime) -> Journal:
    """The journal that a configuration asks for. Raises `JournalError` when it cannot be opened."""
    if config.message_log == "log":
        return Journal(LogDestination(), config.log_payload)
    if config.message_log == "-":
        # Not sys.stdout: twistd puts its log in the place of that.
        return Journal(StandardOutput(reactor), config.log_payload)
    path = os.path.abspath(config.message_log)

    def opener() -> int:
        # O_NONBLOCK: opening a pipe that nobody reads must fail, not wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    try:
        destination = FileDestination(path, opener, reactor)
    except OSError as error:
        raise JournalError(
            f"--message-log: {escape(config.message_log)} cannot be written, {error.strerror};"
            " give log, - or the path of a file that can be"
        ) from error
    return Journal(destination, config.log_payload)
