"""The message log as a part of Twisted's log, in batches where that is a file.

An event of Twisted's logger costs some thirty microseconds. So where nobody
but the observer of their log of text, or of our JSON, takes events, lines are
written to its file by the batch, in its own form. Where anybody else observes
(`twistd --logger`, `--syslog`, twist's JSON, an observer that was added, a
test), each line is an event.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import BaseLogFile
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from .destination import prefixed
from .jsonlog import RECORD, event_as_json, in_ascii, stamp
from .threshold import Leveled

_NAMESPACE = "wsservice"

_PIECE = 64 * 1024
"""Octets written at once: a `LogFile` looks before each write whether to rotate."""


def _code(function: Any) -> CodeType | None:
    return getattr(function, "__code__", None)


_TEXT = _code(textFileLogObserver(io.StringIO()).formatEvent)
"""What makes the lines of Twisted's text log."""


def observed_file(publisher: LogPublisher) -> FileLogObserver | None:
    """The observer of a log of text, or of our JSON, where it alone takes `publisher`'s events.

    None where there is another, or none, or where Twisted is not as known here.
    """
    try:
        # No public name tells who observes.
        observers: list[Any] = publisher._observers
        (only,) = (each for each in observers if not isinstance(each, TwistedLog))
        only = _behind_filters(only)
        if type(only) is not FileLogObserver or not (_in_json(only) or _in_text(only)):
            return None
        return only if _takes_batches(only._outFile) else None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def _behind_filters(observer: Any) -> Any:
    """What takes the message log's events of an observer; None where it leaves them out.

    Raises `AttributeError` or `TypeError` where Twisted is not as known here.
    """
    while True:
        if type(observer) is Leveled:
            if not observer.threshold.takes_messages:
                return None
            observer = observer.observer
            continue
        # As twist makes it, for --log-level.
        if type(observer) is not FilteringLogObserver:
            return observer
        should_log: Any = observer._shouldLogEvent
        if any(type(each) is not LogLevelFilterPredicate for each in should_log.args[0]):
            return observer
        if not should_log(_event(0)):
            return None
        observer = observer._observer


def _in_text(observer: FileLogObserver) -> bool:
    return _code(observer.formatEvent) is _TEXT


def _in_json(observer: FileLogObserver) -> bool:
    return observer.formatEvent is event_as_json


def _takes_batches(file: Any) -> bool:
    if isinstance(file, io.TextIOWrapper):
        # What does not wait may take a part of a batch, and that torn.
        return os.get_blocking(file.fileno())
    return isinstance(file, BaseLogFile)


def _event(now: float) -> LogEvent:
    """An event as those of the message log, but for its text."""
    return {
        "log_format": ".",
        "log_level": LogLevel.info,
        "log_namespace": _NAMESPACE,
        "log_time": now,
    }


def _pieces(lines: bytes) -> Iterator[bytes]:
    """The same, in pieces of whole lines and at most `_PIECE` octets, or of one longer line."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + _PIECE) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end


@implementer(ILogObserver)
class TwistedLog:
    """Twisted's log, as a destination of lines.

    It observes that log too, to have `flush` called before another event is
    written: so lines and events keep their order.

    `records` says that what it takes are not lines of text, but the members of
    objects of JSON.
    """

    #: What observers lose, Twisted tells nobody.
    dropped = 0

    def __init__(
        self,
        reactor: IReactorTime,
        publisher: LogPublisher = globalLogPublisher,
        records: bool = False,
    ) -> None:
        self._reactor = reactor
        self._publisher = publisher
        self._records = records
        self._log = Logger(namespace=_NAMESPACE, observer=publisher)
        self._prefix: tuple[Any, int, bytes] = (None, 0, b"")
        self._flush: Callable[[], None] = lambda: None

    def keep_order(self, flush: Callable[[], None]) -> None:
        """Call `flush`, which writes what is held, before an event is logged."""
        self._flush = flush
        self._publisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        # What is held belongs to the reactor's thread.
        if isInIOThread():
            self._flush()

    @property
    def wanted(self) -> bool:
        """Whether anybody takes messages: none does where only what is worse is logged."""
        try:
            observers: list[Any] = self._publisher._observers
            others = [each for each in observers if not isinstance(each, TwistedLog)]
            return any(_behind_filters(each) is not None for each in others)
        except (AttributeError, LookupError, TypeError, ValueError):
            return True

    def write(self, lines: bytes) -> None:
        observer = observed_file(self._publisher)
        if observer is None:
            self._emit(lines)
        elif _in_json(observer):
            self._write_json(observer._outFile, lines)
        else:
            self._write_text(observer, lines)

    def _write_json(self, file: Any, lines: bytes) -> None:
        before = stamp(self._reactor.seconds()).encode()
        if not self._records:
            # All else was escaped when the line was made.
            lines = lines.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b'"}\n')
            before += b'"text":"'
        for piece in _pieces(prefixed(before, lines)):
            try:
                _write(file, piece)
            except UnicodeEncodeError:
                _write(file, in_ascii(piece.decode()).encode())
            except Exception:  # noqa: S112 - as below
                continue

    def _write_text(self, observer: FileLogObserver, lines: bytes) -> None:
        prefix = self._prefix_of(observer)
        for piece in _pieces(prefixed(prefix, lines)):
            try:
                _write(observer._outFile, piece)
            except UnicodeEncodeError:
                # Not all of it has a place in the encoding of standard output.
                # Nothing was written: one by one, the others are.
                self._emit(piece[len(prefix) :].replace(b"\n" + prefix, b"\n"))
            except Exception:  # noqa: S112
                # What an observer raises, Twisted tells the others, and there are none.
                continue

    def reopen(self) -> None:
        """Twisted's log is reopened by whoever opened it."""

    def close(self) -> None:
        """Twisted's log is closed by whoever opened it."""
        self._publisher.removeObserver(self)

    def _emit(self, lines: bytes) -> None:
        for line in lines[:-1].decode().split("\n"):
            if self._records:
                self._log.info("{{{line}", line=line, **{RECORD: line})
            else:
                self._log.info("{line}", line=line)

    def _prefix_of(self, observer: FileLogObserver) -> bytes:
        """What stands before a line's text, made by the observer's own formatter."""
        now = int(self._reactor.seconds())
        if self._prefix[:2] != (observer.formatEvent, now):
            line = observer.formatEvent(_event(now)) or ""
            self._prefix = (observer.formatEvent, now, line.removesuffix(".\n").encode())
        return self._prefix[2]


def _write(file: Any, lines: bytes) -> None:
    """Write to a file that takes batches. Raises `UnicodeEncodeError` before it writes."""
    if isinstance(file, BaseLogFile):
        file.write(lines)
        file.flush()
        return
    octets = lines.decode().encode(file.encoding, file.errors)
    file.flush()
    # Not file.write: where standard output is not buffered (PYTHONUNBUFFERED),
    # that loses what a write to a pipe leaves over when a signal interrupts it.
    start = 0
    while start < len(octets):
        start += file.buffer.write(octets[start:] if start else octets)
    file.buffer.flush()
