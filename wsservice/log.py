"""The logger of everything that has to do with a peer: what it writes is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from .escape import escape
from .masking import masked


class _EscapedFailure(Failure):
    """A failure whose traceback is printed escaped: its text may be a peer's."""

    mask: Callable[[str], str]
    """Takes secrets out of it. Not their list, which Twisted's JSON would have in it."""

    def getTraceback(self, *args: Any, **kwargs: Any) -> str:
        # The text of the exception comes last. It is escaped as a whole: were it
        # split into lines, a peer's line break would begin a line of its own.
        message = self.getErrorMessage()
        text = super().getTraceback(*args, **kwargs)
        frames = text.removesuffix("\n").removesuffix(message)
        message = escape(self.mask(message))
        return "\n".join(map(escape, frames.split("\n"))) + message + "\n"


def discreet(failure: Failure, secrets: Sequence[str]) -> Failure:
    """The same failure, in whose text secrets are masked when it is logged."""
    escaped = _EscapedFailure(failure.value, failure.type, failure.getTracebackObject())
    escaped.mask = partial(masked, secrets=secrets)
    return escaped


class PeerLogger(Logger):
    """A Twisted logger for text that may have come from a peer.

    Strings and exceptions given as fields are escaped before any observer sees
    them, tracebacks when they are printed. Debug events are dropped, as
    Autobahn's own loggers do unless told otherwise.
    """

    def __get__(self, instance: Any, owner: type | None = None) -> PeerLogger:
        # Twisted's makes a new logger at each access to tell the source;
        # Autobahn accesses it several times for each frame.
        return self

    def debug(self, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        """Dropped."""

    def detail(self, format: str, **kwargs: object) -> None:  # noqa: A002
        """Log at the level of debugging. To be called only where that is logged: it costs."""
        super().emit(LogLevel.debug, format, **{name: _printable(kwargs[name]) for name in kwargs})

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        if level is LogLevel.debug:
            return
        super().emit(level, format, **{name: _printable(kwargs[name]) for name in kwargs})


def _printable(value: object) -> object:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Failure):
        return value if isinstance(value, _EscapedFailure) else discreet(value, ())
    if isinstance(value, BaseException):
        return escape(str(value))
    return value
