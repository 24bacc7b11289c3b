"""Lines of a log, from one process to another, over a pair of sockets.

Each packet is whole lines, or a part of one that is very long: a process that is
killed leaves nothing torn. Writing waits until the other process has read, as
writing to a file does.
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

from ..destination import prefixed

_RECORD = 64 * 1024
"""Octets of a packet."""

_AT_ONCE = 16
"""Packets that are read before others have their turn."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The end to read, which does not block, and the end to write, which does."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * _RECORD)  # as far as it may be
    reading.setblocking(False)
    return reading, writing


def _records(lines: bytes) -> Iterator[bytes]:
    """The same in packets, each ending with a line where one can."""
    start = 0
    while start < len(lines):
        limit = start + _RECORD
        end = limit if limit < len(lines) else len(lines)
        if end < len(lines):
            end = lines.rfind(b"\n", start, end) + 1 or end
        yield lines[start:end]
        start = end


class RecordWriter(io.RawIOBase):
    """A file that is the end to write. What cannot be written is lost: nobody is there to read."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._end.fileno()

    def write(self, data: Any) -> int:
        """Write lines. Waits until there is room."""
        octets = bytes(data)
        with self._lock, contextlib.suppress(OSError):
            for record in _records(octets):
                self._end.send(record)
        return len(octets)


def text_file(end: socket.socket) -> io.TextIOWrapper:
    """The end to write, as a file of text for an observer of Twisted's log."""
    raw: Any = RecordWriter(end)
    return io.TextIOWrapper(
        raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
    )


class RecordDestination:
    """The end to write, as a destination of the message log. `stamp` is that of its lines."""

    wanted = True
    dropped = 0

    def __init__(
        self, end: socket.socket, reactor: IReactorTime, stamp: Callable[[float], bytes]
    ) -> None:
        self._file = RecordWriter(end)
        self._reactor = reactor
        self._stamp = stamp

    def write(self, lines: bytes) -> None:
        self._file.write(prefixed(self._stamp(self._reactor.seconds()), lines))

    def reopen(self) -> None:
        """The parent does."""

    def close(self) -> None:
        """The end of this process closes it; until then, what still comes has its place."""


@implementer(IReadDescriptor)
class RecordReader:
    """The end to read. `write` is called with lines, whole ones, and `over` at the end."""

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
        """What lines of Twisted's old log begin with."""
        return "wsservice"

    def doRead(self) -> Any:
        """Read what there is, or some of it."""
        lines, ended = self._read(_AT_ONCE)
        if lines:
            self._write(lines)
        return CONNECTION_DONE if ended else None

    def finish(self) -> bool:
        """Read and write all that there is, out of turn; whether it is the end."""
        ended = self._end.fileno() < 0
        while not ended:
            lines, ended = self._read(_AT_ONCE)
            if lines:
                self._write(lines)
            elif not ended:
                break
        return ended

    def connectionLost(self, reason: Failure) -> None:
        """It is over."""
        self.close()
        self._over()

    def close(self) -> None:
        """Read no more. Once is enough, more does no harm."""
        if self._end.fileno() >= 0:
            self._reactor.removeReader(self)
            self._end.close()

    def _read(self, most: int) -> tuple[bytes, bool]:
        """Whole lines of so many packets, and whether these were the last."""
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
