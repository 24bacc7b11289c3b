"""Twisted's log as lines of JSON, in the place of the text that twistd and twist write.

docs/operations.md has the members of a line. A line is ASCII: nothing in it moves a cursor, and
every encoding of standard output has its characters.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, LogLevel, eventAsText

from ..errors import ConfigError
from ..private.of_twisted import twistd_observer
from .lines import rfc3339
from .peer import USER

RECORD = "wsservice_record"
"""The field of an event that holds the JSON members of a message, in place of the text."""


def in_ascii(text: str) -> str:
    """Return JSON with all but printable ASCII escaped. Such characters occur only in strings."""
    return "".join(c if " " <= c <= "~" or c == "\n" else json.dumps(c)[1:-1] for c in text)


def stamp(now: float, level: str = "info", namespace: str = "wsservice") -> str:
    """Return the beginning of a line. `now` is the time in seconds since 1970."""
    return (
        f'{{"time":"{rfc3339(now)}","level":{json.dumps(level)},'
        f'"namespace":{json.dumps(namespace)},'
    )


def event_as_json(event: LogEvent) -> str | None:
    """Return the line of an event, with its line end; None if the event has no text."""
    text = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    whole = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not whole:
        return None
    level = event.get("log_level") or LogLevel.info
    begin = stamp(event["log_time"], level.name, str(event.get("log_namespace", "-")))
    if RECORD in event:
        return in_ascii(f"{begin}{event[RECORD]}\n")
    members: dict[str, Any] = {"text": text}
    if isinstance(user := event.get(USER), str):
        members["user"] = user
    if traceback := whole.removeprefix(text).strip("\n"):
        members["failure"] = traceback
    return in_ascii(begin + json.dumps(members)[1:] + "\n")


def json_file_observer(file: Any) -> FileLogObserver:
    """Return an observer that writes events to a file as lines of JSON."""
    return FileLogObserver(file, event_as_json)


def use_json(parent: Any) -> None:
    """Make twistd or twist log in JSON. `parent` has its parsed options.

    Call this before it begins to log. Raises `ConfigError` if its options ask for another log.
    """
    if "fileLogObserverFactory" in parent:
        parent["fileLogObserverFactory"] = json_file_observer  # twist
    elif parent.get("logger") or parent.get("syslog"):
        raise ConfigError(
            "--log-format: 'json' is not allowed with twistd's --logger or --syslog;"
            " give --logfile, or twistd -n"
        )
    else:
        # twistd imports the observer by its name, and finds this one in that place.
        after_options(parent, lambda: _set_logger(parent))


def _set_logger(parent: Any) -> None:
    def observer() -> FileLogObserver:
        made: FileLogObserver = twistd_observer({**parent, "logger": None})
        made.formatEvent = event_as_json
        return made

    parent["logger"] = observer


def after_options(parent: Any, function: Callable[[], None]) -> None:
    """Call a function after twistd has processed its parsed options, `parent`."""
    post_options = parent.postOptions

    def both() -> None:
        post_options()
        function()

    parent.postOptions = both
