"""The lines of workers, in the log of their parent.

Workers write lines in the format of the parent's log, which copies them unchanged. If Twisted's log
has other observers, workers write JSON, and the parent makes each line an event again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher

from ...log.jsonlog import RECORD, event_as_json
from ...log.twistedlog import observed_file, write_lines
from ...private.of_twisted import file_of
from ..wire.records import JSON, TEXT


def form(publisher: LogPublisher = globalLogPublisher) -> str:
    """Return the format for workers to write: that of the parent's log, whatever its level."""
    observer = observed_file(publisher, whatever_it_takes=True)
    return TEXT if observer is not None and observer.formatEvent is not event_as_json else JSON


def copy_to(written: str, publisher: LogPublisher = globalLogPublisher) -> Callable[[bytes], None]:
    """Return a function that copies lines of workers, in this format, to the parent's log."""
    log = Logger(namespace="wsservice", observer=publisher)

    def copy(lines: bytes) -> None:
        observer = observed_file(publisher, whatever_it_takes=True)
        if observer is None or form(publisher) != written:
            for line in lines.decode(errors="backslashreplace").splitlines():
                _event(line) if written == JSON else log.info("{line}", line=line)
            return
        try:
            write_lines(file_of(observer), lines)
        except UnicodeEncodeError:
            # The encoding of the log lacks some of the characters.
            write_lines(file_of(observer), _ascii(lines))
        except Exception:
            # Twisted reports an observer's error to the other observers, and there are none.
            return

    def _event(line: str) -> None:
        try:
            members: dict[str, Any] = json.loads(line)
            source = Logger(namespace=members["namespace"], observer=publisher)
            level = LogLevel.lookupByName(members["level"])
        except (ValueError, LookupError, TypeError):
            log.info("{line}", line=line)
            return
        if "text" in members:
            text = "\n".join([members["text"], *filter(None, [members.get("failure")])])
            source.emit(level, "{text}", text=text)
        else:
            # A message: its members follow the three with which each line begins.
            record = line[line.index(',"namespace":') :].split(",", 2)[2]
            source.emit(level, "{{{line}", line=record, **{RECORD: record})

    return copy


def _ascii(lines: bytes) -> bytes:
    return lines.decode(errors="backslashreplace").encode("ascii", "backslashreplace")
