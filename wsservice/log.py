"""The logger of everything that has to do with a peer: what it writes is escaped."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from .escape import escape


class _EscapedFailure(Failure):
    """A failure whose traceback is printed escaped: its text may be a peer's."""

    def getTraceback(self, *args: Any, **kwargs: Any) -> str:
        # The text of the exception comes last. It is escaped as a whole: were it
        # split into lines, a peer's line break would begin a line of its own.
        message = self.getErrorMessage()
        text = super().getTraceback(*args, **kwargs)
        frames = text.removesuffix("\n").removesuffix(message)
        return "\n".join(map(escape, frames.split("\n"))) + escape(message) + "\n"


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

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        if level is LogLevel.debug:
            return
        super().emit(level, format, **{name: _printable(kwargs[name]) for name in kwargs})


def _printable(value: object) -> object:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Failure):
        return _EscapedFailure(value.value, value.type, value.getTracebackObject())
    if isinstance(value, BaseException):
        return escape(str(value))
    return value
