"""How much is logged: the level below which no event reaches Twisted's log.

It can be changed while the service runs. It stands before whatever twistd or twist
log to: their files, `--logger`, `--syslog`.
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

from .jsonlog import after_options, twistds_observer


class Threshold:
    """The level, one of `Config.log_level`'s, that an event must have at least."""

    #: Whether messages pass, which are info.
    takes_messages: bool

    def __init__(self, level: str) -> None:
        self.level = level

    @property
    def level(self) -> str:
        """Its name. May be set at any time."""
        return self._level

    @level.setter
    def level(self, name: str) -> None:
        self._level = name
        self._least = LogLevel.levelWithName(name)
        self.takes_messages = not self.is_above("info")

    def is_above(self, name: str) -> bool:
        """Whether events of a level are left out."""
        return not self.passes(LogLevel.levelWithName(name))

    def passes(self, level: Any) -> bool:
        """Whether events of one of Twisted's levels are logged."""
        return bool(level >= self._least)

    def before(self, observer: Any) -> Leveled:
        """An observer that gets no events below the level."""
        if not ILogObserver.providedBy(observer):
            observer = LegacyLogObserverWrapper(observer)
        return Leveled(self, observer)


@implementer(ILogObserver)
class Leveled:
    """Hands an observer what passes a threshold.

    Twisted's `FilteringLogObserver` would not tell what it lets through but by being
    asked about an event, which costs more than to log a message.
    """

    def __init__(self, threshold: Threshold, observer: Any) -> None:
        self.threshold = threshold
        self.observer = observer

    def __call__(self, event: LogEvent) -> None:
        """As `ILogObserver` has it."""
        if self.threshold.passes(event.get("log_level") or LogLevel.info):
            self.observer(event)


def inherited_level(parent: Any) -> str | None:
    """The level that twist, whose parsed options these are, was told.

    None where it is the one that it has by itself, and of another program.
    """
    level = parent.get("logLevel", LogLevel.info)
    return None if level is LogLevel.info else str(level.name)


def use_threshold(parent: Any, threshold: Threshold) -> None:
    """Have twistd or twist, whose parsed options these are, log no less than that.

    Called before they begin to log, and after `use_json`.
    """
    if "fileLogObserverFactory" in parent:  # twist
        make: Callable[[Any], Any] = parent["fileLogObserverFactory"]
        parent["fileLogObserverFactory"] = lambda file: threshold.before(make(file))
        parent["logLevel"] = LogLevel.debug  # which leaves it to us
    else:
        after_options(parent, lambda: _set_logger(parent, threshold))


def _set_logger(parent: Any, threshold: Threshold) -> None:
    asked_for: Callable[[], Any] | None = parent.get("logger")
    parent["logger"] = lambda: threshold.before(
        asked_for() if asked_for is not None else twistds_observer({**parent, "logger": None})
    )
