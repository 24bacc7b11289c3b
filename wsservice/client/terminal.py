"""The program's standard input and output."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ..journal import describe

_CHUNK = 64 * 1024


@implementer(IPushProducer)
class LineReader:
    """Reads lines in a thread of its own, no faster than they are taken.

    A thread, since files, pipes and terminals are all read the same way by it,
    and none has to be put into a mode that the shell then finds it in. `on_line`
    gets each line without its end, `on_end` is called once, both in the
    reactor's thread. It is a producer: while paused, nothing is read.
    """

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        on_line: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_line = on_line
        self._on_end = on_end
        self._begun = b""
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
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""  # standard input is closed, or a terminal that hung up
            self._taken.clear()
            self._reactor.callFromThread(self._received, chunk)
            self._taken.wait()
            self._resumed.wait()

    def _received(self, chunk: bytes) -> None:
        try:
            *lines, self._begun = (self._begun + chunk).split(b"\n")
            if not chunk and self._begun:
                lines.append(self._begun)
            for line in lines:
                if not self._stopped:
                    self._on_line(line)
            if not chunk and not self._stopped:
                self._on_end()
        finally:
            self._taken.set()


class Output:
    """Standard output: a payload to a line, as it came, or escaped where a person reads it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._for_people = os.isatty(descriptor)

    def write(self, payload: bytes, isBinary: bool) -> None:
        """Print one message. Raises `OSError` when nobody takes it any more."""
        if self._for_people:
            payload = describe(payload, isBinary, 2 * len(payload) * 10).encode()
        rest = memoryview(payload + b"\n")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # whoever shares it made it so
                select.select([], [self._descriptor], [])
