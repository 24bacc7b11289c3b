"""Twisted's log as lines of JSON, in the place of the text that twistd and twist write.

What a line has is documented in docs/operations.md. All of it is ASCII: nothing
in it moves a cursor, and no encoding of standard output lacks a character.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, LogLevel, eventAsText

from .errors import ConfigError
from .lines import rfc3339

RECORD = "wsservice_record"
"""The field of an event that has the members of a message's object, which stand for its text."""


def in_ascii(text: str) -> str:
    """JSON, with what is not printable ASCII escaped, which stands within strings only."""
    return "".join(c if " " <= c <= "~" or c == "\n" else json.dumps(c)[1:-1] for c in text)


def stamp(now: float, level: str = "info", namespace: str = "wsservice") -> str:
    """What every line begins with."""
    return (
        f'{{"time":"{rfc3339(now)}","level":{json.dumps(level)},'
        f'"namespace":{json.dumps(namespace)},'
    )


def event_as_json(event: LogEvent) -> str | None:
    """The line of an event, with its end; None where it has no text."""
    text = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    whole = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not whole:
        return None
    level = event.get("log_level") or LogLevel.info
    begin = stamp(event["log_time"], level.name, str(event.get("log_namespace", "-")))
    if RECORD in event:
        return in_ascii(f"{begin}{event[RECORD]}\n")
    members: dict[str, Any] = {"text": text}
    if traceback := whole.removeprefix(text).strip("\n"):
        members["failure"] = traceback
    return in_ascii(begin + json.dumps(members)[1:] + "\n")


def json_file_observer(file: Any) -> FileLogObserver:
    """An observer that writes such lines to a file."""
    return FileLogObserver(file, event_as_json)


def use_json(parent: Any) -> None:
    """Have twistd or twist, whose parsed options these are, log so.

    Called before they begin to log. Raises `ConfigError` where another log was asked for.
    """
    if "fileLogObserverFactory" in parent:
        parent["fileLogObserverFactory"] = json_file_observer  # twist
    elif parent.get("logger") or parent.get("syslog"):
        raise ConfigError(
            "--log-format: 'json' is not allowed with twistd's --logger or --syslog;"
            " give --logfile, or twistd -n"
        )
    else:
        # It would import this one by its name.
        after_options(parent, lambda: _set_logger(parent))


def _set_logger(parent: Any) -> None:
    def observer() -> FileLogObserver:
        made: FileLogObserver = twistds_observer({**parent, "logger": None})
        made.formatEvent = event_as_json
        return made

    parent["logger"] = observer


def after_options(parent: Any, function: Callable[[], None]) -> None:
    """Call a function after twistd, whose parsed options these are, has looked at them all."""
    post_options = parent.postOptions

    def both() -> None:
        post_options()
        function()

    parent.postOptions = both


def twistds_observer(options: dict[str, Any]) -> Any:
    """The observer that twistd would make of its options, with the file that it opens."""
    from twisted.scripts import twistd

    runner: Any = vars(twistd)["_SomeApplicationRunner"]
    return runner.loggerFactory(options)._getLogObserver()
