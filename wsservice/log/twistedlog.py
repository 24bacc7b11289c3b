"""The message log as a part of Twisted's log, in batches where that is a file.

An event of Twisted's logger costs about thirty microseconds. If the only observer is that of
Twisted's text log, or of our JSON, batches of lines are therefore written to its file, in its
format. With any other observer (`twistd --logger`, `--syslog`, twist's JSON, an observer that
was added, a test), each line is an event.
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

from ..clock import wall_of
from ..private.of_twisted import file_of, filter_of, observers_of
from .destination import prefixed
from .jsonlog import RECORD, event_as_json, in_ascii, stamp
from .threshold import Leveled

_NAMESPACE = "wsservice"

_PIECE = 64 * 1024
"""Octets written at once. A `LogFile` rotates between writes only, so they must be small."""


def _code(function: Any) -> CodeType | None:
    return getattr(function, "__code__", None)


_TEXT = _code(textFileLogObserver(io.StringIO()).formatEvent)
"""The code that formats the lines of Twisted's text log."""


def observed_file(
    publisher: LogPublisher, whatever_it_takes: bool = False
) -> FileLogObserver | None:
    """Return the observer of a text log, or of our JSON, if it is the only one of `publisher`.

    Return None if there is another observer, or none, or if Twisted's internals differ from
    those known here. Return None too if its level filters out messages, unless
    `whatever_it_takes` is true.
    """
    try:
        (only,) = (each for each in observers_of(publisher) if not isinstance(each, TwistedLog))
        only = _behind_filters(only, whatever_it_takes)
        if type(only) is not FileLogObserver or not (_in_json(only) or _in_text(only)):
            return None
        return only if _takes_batches(file_of(only)) else None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def _behind_filters(observer: Any, whatever_it_takes: bool = False) -> Any:
    """Return the observer behind filters, or None if they drop the message log's events.

    With `whatever_it_takes`, ignore the levels of the filters.

    Raises `AttributeError` or `TypeError` if Twisted's internals differ from those known here.
    """
    while True:
        if type(observer) is Leveled:
            if not observer.threshold.takes_messages and not whatever_it_takes:
                return None
            observer = observer.observer
            continue
        # twist makes this filter for --log-level.
        if type(observer) is not FilteringLogObserver:
            return observer
        should_log, behind = filter_of(observer)
        if any(type(each) is not LogLevelFilterPredicate for each in should_log.args[0]):
            return observer
        if not should_log(_event(0)) and not whatever_it_takes:
            return None
        observer = behind


def _in_text(observer: FileLogObserver) -> bool:
    return _code(observer.formatEvent) is _TEXT


def _in_json(observer: FileLogObserver) -> bool:
    return observer.formatEvent is event_as_json


def _takes_batches(file: Any) -> bool:
    if isinstance(file, io.TextIOWrapper):
        # A descriptor that does not block may take only a part of a batch, and tear a line.
        return os.get_blocking(file.fileno())
    return isinstance(file, BaseLogFile)


def _event(now: float) -> LogEvent:
    """Return an event like those of the message log, without the text."""
    return {
        "log_format": ".",
        "log_level": LogLevel.info,
        "log_namespace": _NAMESPACE,
        "log_time": now,
    }


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Yield lines in pieces of whole lines, of at most `_PIECE` octets or one longer line."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + _PIECE) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end


@implementer(ILogObserver)
class TwistedLog:
    """Twisted's log, as a destination of lines.

    It observes that log too, and calls `flush` before another event is
    written: so lines and events keep their order.

    With `records`, the lines are not text, but the members of
    objects of JSON.
    """

    #: Always 0: Twisted does not report the events that an observer loses.
    dropped = 0

    def __init__(
        self,
        reactor: IReactorTime,
        publisher: LogPublisher = globalLogPublisher,
        records: bool = False,
    ) -> None:
        self._wall = wall_of(reactor)
        self._publisher = publisher
        self._records = records
        self._log = Logger(namespace=_NAMESPACE, observer=publisher)
        self._prefix: tuple[Any, int, bytes] = (None, 0, b"")
        self._flush: Callable[[], None] = lambda: None

    def keep_order(self, flush: Callable[[], None]) -> None:
        """Have `flush`, which writes held messages, called before each event is logged."""
        self._flush = flush
        self._publisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        # Held messages belong to the reactor's thread.
        if isInIOThread():
            self._flush()

    @property
    def wanted(self) -> bool:
        """Return True if messages are logged, which the log level may prevent."""
        try:
            observers = observers_of(self._publisher)
            others = [each for each in observers if not isinstance(each, TwistedLog)]
            return any(_behind_filters(each) is not None for each in others)
        except (AttributeError, LookupError, TypeError, ValueError):
            return True

    def write(self, lines: bytes) -> None:
        observer = observed_file(self._publisher)
        if observer is None:
            self._emit(lines)
        elif _in_json(observer):
            self._write_json(file_of(observer), lines)
        else:
            self._write_text(observer, lines)

    def _write_json(self, file: Any, lines: bytes) -> None:
        before = stamp(self._wall()).encode()
        if not self._records:
            # All else was escaped when the line was made.
            lines = lines.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b'"}\n')
            before += b'"text":"'
        for piece in _pieces(prefixed(before, lines)):
            try:
                write_lines(file, piece)
            except UnicodeEncodeError:
                write_lines(file, in_ascii(piece.decode()).encode())
            except Exception:  # noqa: S112 - as below
                continue

    def _write_text(self, observer: FileLogObserver, lines: bytes) -> None:
        prefix = self._prefix_of(observer)
        for piece in _pieces(prefixed(prefix, lines)):
            try:
                write_lines(file_of(observer), piece)
            except UnicodeEncodeError:
                # The encoding of standard output lacks some of the characters. Nothing was written
                # yet, so write the lines that it can hold one by one.
                self._emit(piece[len(prefix) :].replace(b"\n" + prefix, b"\n"))
            except Exception:  # noqa: S112
                # Twisted reports an observer's error to the other observers, and there are none.
                continue

    def reopen(self) -> None:
        """Do nothing: the program that opened Twisted's log reopens it."""

    def close(self) -> None:
        """Do nothing: the program that opened Twisted's log closes it."""
        self._publisher.removeObserver(self)

    def _emit(self, lines: bytes) -> None:
        for line in lines[:-1].decode().split("\n"):
            if self._records:
                self._log.info("{{{line}", line=line, **{RECORD: line})
            else:
                self._log.info("{line}", line=line)

    def _prefix_of(self, observer: FileLogObserver) -> bytes:
        """Return the prefix of a line, as the observer's own formatter makes it."""
        now = int(self._wall())
        if self._prefix[:2] != (observer.formatEvent, now):
            line = observer.formatEvent(_event(now)) or ""
            self._prefix = (observer.formatEvent, now, line.removesuffix(".\n").encode())
        return self._prefix[2]


def write_lines(file: Any, lines: bytes) -> None:
    """Write to a file that takes batches. Raises `UnicodeEncodeError` before it writes."""
    if isinstance(file, BaseLogFile):
        file.write(lines)
        file.flush()
        return
    octets = lines.decode().encode(file.encoding, file.errors)
    file.flush()
    # file.write would be wrong: on unbuffered standard output (PYTHONUNBUFFERED) it drops the
    # rest when a signal interrupts a write to a pipe.
    start = 0
    while start < len(octets):
        start += file.buffer.write(octets[start:] if start else octets)
    file.buffer.flush()
