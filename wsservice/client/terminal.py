"""The program's standard input and output."""

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

_CHUNK = 64 * 1024

_LONGEST = 128 * 1024 * 1024
"""Octets that a message of standard input may have: it is held in memory."""

_FULL = 256 * 1024
"""Octets that wait to be written before the server is not read any more."""


def reserve_descriptors() -> None:
    """See that descriptors 0 to 2 are taken, whatever the shell closed.

    Else the first socket would be given one of these numbers, and be read, or
    printed into. What stands in their place can be neither read nor printed to.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free is given, and the lower ones are taken by now.
            os.open(os.devnull, flags)


@implementer(IPushProducer)
class LineReader:
    """Reads lines in a thread of its own, no faster than they are taken.

    A thread, since files, pipes and terminals are all read the same way by it,
    and none has to be put into a mode that the shell then finds it in.
    `on_lines` gets the lines of one read, without their ends, and `on_end` is
    called once: with "" at the end, else with what is wrong with the input.
    Both are called in the reactor's thread. A line ends in `end`. It is a
    producer: while paused, nothing is read.
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
        """Begin to read."""
        # A daemon: nothing can end a read from a terminal but the terminal.
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
        # Joined where a line ends, and not before: a long one comes in many chunks.
        first, *rest = chunk.split(self._end)
        self._begin(first)
        if rest:
            lines = [b"".join(self._begun), *rest]
            self._begun, self._begun_size = [], 0
            self._begin(lines.pop())
            self._on_lines(lines)
        if not chunk and self._begun_size:
            self._on_lines([b"".join(self._begun)])
        if not chunk and not self._stopped:
            self._on_end("")
        elif self._begun_size > _LONGEST:
            self.stopProducing()
            self._on_end(f"has a message of more than {_LONGEST >> 20} MiB")

    def _begin(self, piece: bytes) -> None:
        self._begun.append(piece)
        self._begun_size += len(piece)


class Output:
    """Standard output, written in a thread of its own.

    So whoever reads it slowly, or not at all, stops nothing else. `on_full` is
    called when much waits to be written, `on_room` when that is over, and
    `on_error`, once, when it can be written no more, all in the reactor's
    thread; what comes after that goes nowhere.
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
        #: Whether a person reads it.
        self.is_terminal = os.isatty(descriptor)
        self._waiting: list[bytes] = []
        self._octets = 0
        self._full = False
        self._busy = False
        self._broken = False
        self._done: list[Deferred[None]] = []
        self._handed_over: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # A daemon: a pipe that nobody reads must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="standard output", daemon=True)

    def write(self, octets: bytes) -> None:
        """Print some octets."""
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
        """Fires when all is written, or can be no more."""
        if not self._busy:
            return succeed(None)
        self._done.append(Deferred())
        return self._done[-1]

    def _hand_over(self) -> None:
        # What comes while this is written goes together, next.
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
            except BlockingIOError:  # whoever shares it made it so
                select.select([], [self._descriptor], [])
