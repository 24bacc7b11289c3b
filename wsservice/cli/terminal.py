"""Read standard input and write standard output, each in a thread."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from . import largest

_CHUNK = 64 * 1024

_FULL = 256 * 1024
"""Octets of waiting output after which the server is not read any more."""


def reserve_descriptors() -> None:
    """Open descriptors 0 to 2 if the shell has closed them.

    A socket that got one of these numbers would be read as the input, or printed into. The
    replacements can be neither read nor written.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system gives the lowest free number, and the lower ones are taken by now.
            os.open(os.devnull, flags)


@implementer(IPushProducer)
class LineReader:
    """Read lines in a thread, no faster than they are taken.

    A thread reads files, pipes and terminals alike. It needs no mode of the descriptor that
    the shell would find changed. Lines end with `end`; a CR before a line feed is removed.
    It is a producer: while paused, it does not read.

    `on_lines` gets the lines of each read, without their ends. `on_end` is called once, with
    "" at the end of the input, otherwise with the problem. Both are called in the reactor's
    thread.
    """

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        on_lines: Callable[[list[bytes]], object],
        on_end: Callable[[str], object],
        end: bytes = b"\n",
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_lines = on_lines
        self._on_end = on_end
        self._end = end
        self._begun: list[bytes] = []
        self._begun_size = 0
        self._taken = threading.Event()
        self._resumed = threading.Event()
        self._resumed.set()
        self._stopped = False

    def start(self) -> None:
        """Start to read."""
        # A daemon thread: a read from a terminal cannot be interrupted, and must not keep the
        # program from ending.
        threading.Thread(target=self._read, name="standard input", daemon=True).start()

    def pauseProducing(self) -> None:
        self._resumed.clear()

    def resumeProducing(self) -> None:
        self._resumed.set()

    def stopProducing(self) -> None:
        self._stopped = True
        self._resumed.set()

    def _read(self) -> None:
        chunk = b"-"
        while chunk and not self._stopped:
            self._resumed.wait()
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""  # standard input is closed, or a terminal that hung up
            self._taken.clear()
            self._reactor.callFromThread(self._received, chunk)
            self._taken.wait()

    def _received(self, chunk: bytes) -> None:
        try:
            if not self._stopped:
                self._hand_on(chunk)
        finally:
            self._taken.set()

    def _hand_on(self, chunk: bytes) -> None:
        # Pieces are joined only at the end of a line: a long line comes in many chunks.
        first, *rest = chunk.split(self._end)
        self._begin(first)
        if rest:
            lines = [b"".join(self._begun), *rest]
            self._begun, self._begun_size = [], 0
            self._begin(lines.pop())
            self._on_lines(self._without_cr(lines))
        if not chunk and self._begun_size:
            self._on_lines([b"".join(self._begun)])
        if not chunk and not self._stopped:
            self._on_end("")
        elif self._begun_size > largest.LARGEST:
            self.stopProducing()
            self._on_end(f"has a message of more than {largest.shown()}")

    def _without_cr(self, lines: list[bytes]) -> list[bytes]:
        """Return lines without the CR of files that end lines with CR LF."""
        if self._end != b"\n" or not any(each.endswith(b"\r") for each in lines):
            return lines
        return [each.removesuffix(b"\r") for each in lines]

    def _begin(self, piece: bytes) -> None:
        self._begun.append(piece)
        self._begun_size += len(piece)


class Output:
    """Write standard output in a thread, so that a slow reader blocks nothing else.

    `on_full` is called when much output waits, `on_room` when that is over, and `on_error` once,
    when writing fails; later output is dropped. All are called in the reactor's thread.
    """

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        on_full: Callable[[], object],
        on_room: Callable[[], object],
        on_error: Callable[[OSError], object],
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_full = on_full
        self._on_room = on_room
        self._on_error = on_error
        #: True if the output is a terminal.
        self.is_terminal = os.isatty(descriptor)
        self._waiting: list[bytes] = []
        self._octets = 0
        self._full = False
        self._busy = False
        self._broken = False
        self._done: list[Deferred[None]] = []
        self._handed_over: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # A daemon thread: a pipe without a reader must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="standard output", daemon=True)

    def write(self, octets: bytes) -> None:
        """Print octets."""
        if self._broken:
            return
        self._waiting.append(octets)
        self._octets += len(octets)
        if not self._full and self._octets > _FULL:
            self._full = True
            self._on_full()
        if not self._busy:
            self._hand_over()

    def written(self) -> Deferred[None]:
        """Fire when everything is written, or cannot be written any more."""
        if not self._busy:
            return succeed(None)
        self._done.append(Deferred())
        return self._done[-1]

    def _hand_over(self) -> None:
        # Octets that come during this write are written together, next.
        self._busy = True
        batch, self._waiting = b"".join(self._waiting), []
        if not self._thread.is_alive():
            self._thread.start()
        self._handed_over.put(batch)

    def _wrote(self, count: int, error: OSError | None) -> None:
        self._octets -= count
        if error is not None:
            self._broken = True
            self._waiting.clear()
            self._octets = 0
            self._on_error(error)
        if self._full and self._octets <= _FULL // 2:
            self._full = False
            self._on_room()
        if self._waiting:
            self._hand_over()
            return
        self._busy = False
        done, self._done = self._done, []
        for each in done:
            each.callback(None)

    def _run(self) -> None:
        error = None
        while error is None:
            batch = self._handed_over.get()
            try:
                self._write(batch)
            except OSError as raised:
                error = raised
            self._reactor.callFromThread(self._wrote, len(batch), error)

    def _write(self, batch: bytes) -> None:
        rest = memoryview(batch)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except (
                BlockingIOError
            ):  # another process that shares the descriptor made it non-blocking
                select.select([], [self._descriptor], [])
