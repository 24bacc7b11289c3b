"""Lines of a log, sent from one process to another over a pair of sockets.

Each packet holds whole lines, or a part of one very long line, so that a killed process leaves no
torn line. A write blocks until the other process has read, as a write to a file does.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from ...clock import wall_of
from ...log.destination import prefixed

TEXT, JSON = "text", "json"
"""The forms of the lines that a worker writes to its log."""

LOG, FILE, RECORDS = "log", "file", "records"
"""The ways of a worker's message log: with its log, to the file by itself, or
to its parent, which alone writes to a pipe or a terminal."""

_RECORD = 64 * 1024
"""The largest size of a packet, in octets."""

_AT_ONCE = 16
"""The largest number of packets to read in one turn of the reactor."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the end to read, which does not block, and the end to write, which does."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * _RECORD)  # or less
    reading.setblocking(False)
    return reading, writing


def _records(lines: bytes) -> Iterator[bytes]:
    """Yield lines in packets. A packet ends with a line if one fits."""
    start = 0
    while start < len(lines):
        limit = start + _RECORD
        end = limit if limit < len(lines) else len(lines)
        if end < len(lines):
            end = lines.rfind(b"\n", start, end) + 1 or end
        yield lines[start:end]
        start = end


class RecordWriter(io.RawIOBase):
    """A file over the end to write. If a write fails, the lines are lost: the reader is gone."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._end.fileno()

    def write(self, data: Any) -> int:
        """Write lines. Block until there is room."""
        octets = bytes(data)
        with self._lock, contextlib.suppress(OSError):
            for record in _records(octets):
                self._end.send(record)
        return len(octets)


def text_file(end: socket.socket) -> io.TextIOWrapper:
    """Return the end to write, as a text file for an observer of Twisted's log."""
    raw: Any = RecordWriter(end)
    return io.TextIOWrapper(
        raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
    )


class RecordDestination:
    """The end to write, as a destination of the message log. `stamp` is that of `Lines`."""

    wanted = True
    dropped = 0

    def __init__(
        self, end: socket.socket, reactor: IReactorTime, stamp: Callable[[float], bytes]
    ) -> None:
        self._file = RecordWriter(end)
        self._wall = wall_of(reactor)
        self._stamp = stamp

    def write(self, lines: bytes) -> None:
        self._file.write(prefixed(self._stamp(self._wall()), lines))

    def reopen(self) -> None:
        """Do nothing: the parent reopens the log."""

    def close(self) -> None:
        """Do nothing, so that late lines have a place. The end of this process closes the file."""


@implementer(IReadDescriptor)
class RecordReader:
    """The end to read. It calls `write` with whole lines, and `over` at the end."""

    def __init__(
        self,
        end: socket.socket,
        reactor: Any,
        write: Callable[[bytes], None],
        over: Callable[[], None],
    ) -> None:
        self._end = end
        self._reactor = reactor
        self._write = write
        self._over = over
        self._rest = b""
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        """Return the prefix of lines in Twisted's legacy log."""
        return "wsservice"

    def doRead(self) -> Any:
        """Read some of the packets that wait."""
        lines, ended = self._read(_AT_ONCE)
        if lines:
            self._write(lines)
        return CONNECTION_DONE if ended else None

    def finish(self) -> bool:
        """Read and write all packets that wait, at once. Return True if the other end is closed."""
        ended = self._end.fileno() < 0
        while not ended:
            lines, ended = self._read(_AT_ONCE)
            if lines:
                self._write(lines)
            elif not ended:
                break
        return ended

    def connectionLost(self, reason: Failure) -> None:
        """Stop reading: the other end is closed."""
        self.close()
        self._over()

    def close(self) -> None:
        """Stop reading. Idempotent."""
        if self._end.fileno() >= 0:
            self._reactor.removeReader(self)
            self._end.close()

    def _read(self, most: int) -> tuple[bytes, bool]:
        """Return the whole lines of up to `most` packets, and True if these were the last."""
        parts = [self._rest]
        ended = False
        for _ in range(most):
            try:
                record = self._end.recv(_RECORD)
            except BlockingIOError:
                break
            except OSError:
                record = b""
            if not record:
                ended = True
                break
            parts.append(record)
        if not parts[-1].endswith(b"\n"):
            data = b"".join(parts)
            end = data.rfind(b"\n") + 1
            self._rest = data[end:]
            if ended and self._rest:
                self._rest = b""
                return data + b"\n", ended
            return data[:end], ended
        self._rest = b""
        return b"".join(parts), ended
