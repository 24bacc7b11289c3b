"""The log level: events below it do not reach Twisted's log.

It can be changed while the service runs. It applies to every log of twistd and twist: their
files, `--logger`, `--syslog`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    LogLevel,
)
from zope.interface import implementer

from ..private.of_twisted import twistd_observer
from .jsonlog import after_options


class Threshold:
    """The lowest level of events that are logged, one of `Config.log_level`."""

    #: True if lines of the message log pass; their level is info.
    takes_messages: bool

    def __init__(self, level: str) -> None:
        self.level = level

    @property
    def level(self) -> str:
        """The name of the level. It may be set at any time."""
        return self._level

    @level.setter
    def level(self, name: str) -> None:
        self._level = name
        self._least = LogLevel.levelWithName(name)
        self.takes_messages = not self.is_above("info")

    def is_above(self, name: str) -> bool:
        """Return True if events of a level are not logged."""
        return not self.passes(LogLevel.levelWithName(name))

    def passes(self, level: Any) -> bool:
        """Return True if events of one of Twisted's levels are logged."""
        return bool(level >= self._least)

    def before(self, observer: Any) -> Leveled:
        """Return an observer that passes on to `observer` only events that the level allows."""
        if not ILogObserver.providedBy(observer):
            observer = LegacyLogObserverWrapper(observer)
        return Leveled(self, observer)


@implementer(ILogObserver)
class Leveled:
    """Hands an observer the events that pass a threshold.

    Twisted's `FilteringLogObserver` does not tell its level. It could only be tried with an
    event, which costs more than to log a message.
    """

    def __init__(self, threshold: Threshold, observer: Any) -> None:
        self.threshold = threshold
        self.observer = observer

    def __call__(self, event: LogEvent) -> None:
        """Pass on an event, for `ILogObserver`, if its level is high enough."""
        if self.threshold.passes(event.get("log_level") or LogLevel.info):
            self.observer(event)


def inherited_level(parent: Any) -> str | None:
    """Return the level that twist's option `--log-level` gives. `parent` has its parsed options.

    Return None if that level is twist's default, or if the program is not twist.
    """
    level = parent.get("logLevel", LogLevel.info)
    return None if level is LogLevel.info else str(level.name)


def use_threshold(parent: Any, threshold: Threshold, began: Callable[[], None]) -> None:
    """Make twistd or twist log only events that pass a threshold. `parent` has its parsed options.

    Call this before it begins to log, and after `use_json`. `began` is called once twistd has
    opened its log and installed its handler of SIGUSR1.
    """
    if "fileLogObserverFactory" in parent:  # twist
        make: Callable[[Any], Any] = parent["fileLogObserverFactory"]
        parent["fileLogObserverFactory"] = lambda file: threshold.before(make(file))
        parent["logLevel"] = LogLevel.debug  # so that only the threshold filters
    else:
        after_options(parent, lambda: _set_logger(parent, threshold, began))


def _set_logger(parent: Any, threshold: Threshold, began: Callable[[], None]) -> None:
    asked_for: Callable[[], Any] | None = parent.get("logger")

    def observer() -> Leveled:
        made = asked_for() if asked_for is not None else twistd_observer({**parent, "logger": None})
        began()
        return threshold.before(made)

    parent["logger"] = observer
