"""The lines of workers, in the log of their parent.

Workers write lines in the form that the parent's log has, so that they are copied as
they are. Where somebody else takes Twisted's log, each is made an event again: workers
write JSON then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher

from ..jsonlog import RECORD, event_as_json
from ..twistedlog import observed_file, write_lines

TEXT = "text"
JSON = "json"


def form(publisher: LogPublisher = globalLogPublisher) -> str:
    """The form in which workers are to write: that of the parent's log, whatever its level."""
    observer = observed_file(publisher, whatever_it_takes=True)
    return TEXT if observer is not None and observer.formatEvent is not event_as_json else JSON


def copy_to(written: str, publisher: LogPublisher = globalLogPublisher) -> Callable[[bytes], None]:
    """What copies lines that workers write in this form to the log of the parent."""
    log = Logger(namespace="wsservice", observer=publisher)

    def copy(lines: bytes) -> None:
        observer = observed_file(publisher, whatever_it_takes=True)
        if observer is None or form(publisher) != written:
            for line in lines.decode(errors="backslashreplace").splitlines():
                _event(line) if written == JSON else log.info("{line}", line=line)
            return
        try:
            write_lines(observer._outFile, lines)
        except UnicodeEncodeError:
            # The form of text is for a log whose encoding has no place for all of it.
            write_lines(observer._outFile, _ascii(lines))
        except Exception:
            # What an observer raises, Twisted tells the others, and there are none.
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
            # A message's: what stands behind the three members that each line begins with.
            record = line[line.index(',"namespace":') :].split(",", 2)[2]
            source.emit(level, "{{{line}", line=record, **{RECORD: record})

    return copy


def _ascii(lines: bytes) -> bytes:
    return lines.decode(errors="backslashreplace").encode("ascii", "backslashreplace")
