"""A logger for events about a peer: it escapes all text that a peer may have sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ..escape import escape, masked, quote

USER = "wsservice_user"
"""The field of an event that holds the id of the connection's user, not escaped."""

_SHOWN_USER = 64
"""The most characters of a user's id in the name of a connection, so that a line stays short."""

_SELDOM = 10.0


class Who(str):
    """The name of a connection with a user: its id, its peer, and the user's id as a JSON string.

    `user` is the whole id, `nameless` the name without it. The text is printable, with at most 64
    characters of the id.
    """

    __slots__ = ("nameless", "user")

    nameless: str
    user: str

    @classmethod
    def of(cls, who: str, user: str) -> Who:
        """Return the name of a connection, from the one without a user."""
        shown = user if len(user) <= _SHOWN_USER else f"{user[: _SHOWN_USER - 1]}\u2026"
        made = cls(f"{nameless(who)} {quote(shown)}")
        made.nameless, made.user = nameless(who), user
        return made


def nameless(who: str) -> str:
    """Return the name of a connection without its user."""
    return who.nameless if isinstance(who, Who) else who


def peer_in(who: str) -> str:
    """Return the peer's address in the name of a connection; "" before it is known."""
    return nameless(who).partition(" ")[2]


def user_in(who: str) -> str:
    """Return the id of the user in the name of a connection; "" without one."""
    return who.user if isinstance(who, Who) else ""


class _EscapedFailure(Failure):
    """A failure whose traceback is printed escaped, since its text may be from a peer."""

    mask: Callable[[str], str]
    """Masks secrets in a text. A list of secrets here would end up in Twisted's JSON log."""

    def getTraceback(self, *args: Any, **kwargs: Any) -> str:
        # The text of the exception comes last. It is escaped as a whole: were it
        # split into lines, a peer's line break would begin a line of its own.
        message = self.getErrorMessage()
        text = super().getTraceback(*args, **kwargs)
        frames = text.removesuffix("\n").removesuffix(message)
        message = escape(self.mask(message))
        return "\n".join(map(escape, frames.split("\n"))) + message + "\n"


def discreet(failure: Failure, secrets: Sequence[str]) -> Failure:
    """Return a failure with secrets masked in its text when it is logged."""
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
        # Twisted's own makes a new logger at each access, to record the source. Autobahn accesses
        # its logger several times for each frame.
        return self

    def debug(self, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        """Drop a debug event."""

    def detail(self, format: str, **kwargs: object) -> None:  # noqa: A002
        """Log at the debug level. It is slow, so call it only if that level is logged."""
        super().emit(LogLevel.debug, format, **_fields(kwargs))

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        if level is LogLevel.debug:
            return
        super().emit(level, format, **_fields(kwargs))


class Seldom:
    """Limits the rate of log lines that a peer can cause at will.

    `seconds` is a monotonic clock. Between two of the lines at least 10 seconds pass.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: float | None = None

    def due(self) -> bool:
        """Return True if a line may be logged now. The caller must log it then."""
        now = self._seconds()
        if self._last is not None and now - self._last < _SELDOM:
            return False
        self._last = now
        return True


def _fields(given: Mapping[str, object]) -> dict[str, object]:
    fields = {name: _printable(given[name]) for name in given}
    who = given.get("who")
    if isinstance(who, Who):
        fields[USER] = who.user
    return fields


def _printable(value: object) -> object:
    if isinstance(value, Who):
        return str(value)  # printable already: to escape its backslashes again would double them
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Failure):
        return value if isinstance(value, _EscapedFailure) else discreet(value, ())
    if isinstance(value, BaseException):
        return escape(str(value))
    return value
