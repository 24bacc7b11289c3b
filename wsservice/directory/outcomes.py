"""The outcomes of requests for one connection of a service, wherever it is. PURE."""

from __future__ import annotations

import enum

import attrs


class SendOutcome(enum.Enum):
    """The outcome of a message to one connection.

    Workers and nodes tell one another its value.
    """

    HANDED = "handed"
    """The connection took it."""
    DROPPED = "dropped"
    """The connection did not take it: its peer reads too slowly."""
    OPENING = "opening"
    """The handshake of the connection is not done."""
    CLOSING = "closing"
    """The connection is closing."""
    GONE = None
    """No connection has the id."""


class TraceRefusal(enum.Enum):
    """The reason why a connection is not traced."""

    GONE = "gone"
    """No connection has the id."""
    OPENING = "opening"
    """The handshake of the connection is not done, so it has no frames yet."""
    TOO_MANY = "too many"
    """No further trace is allowed."""


@attrs.frozen
class TracedElsewhere:
    """A connection that only its own node traces: the one with a `number` on a `node`.

    `host` is the host of that node; None if it is unknown.
    """

    node: str
    number: int
    host: str | None


class Unreached(enum.Enum):
    """The reason why the outcome for a connection is missing."""

    TOO_LONG = "too long"
    """The message is too long for the way there, and was not sent."""
    NOT_UNDERSTOOD = "not understood"
    """The node does not understand the request."""
    AWAY = "away"
    """The node cannot be reached, so nothing was done."""
    UNKNOWN = "unknown"
    """No answer came: whether the request was carried out is unknown."""


class UnansweredError(Exception):
    """A worker or another node did not answer; the text names it and says what is known.

    `why` is the reason.
    """

    def __init__(self, why: Unreached, text: str) -> None:
        super().__init__(text)
        self.why = why


@attrs.frozen
class UserReached:
    """The outcome of a message to all connections of a user, or of closing them."""

    handed: int = 0
    """Connections that took the message, or were told to close."""
    dropped: int = 0
    """Connections that did not take the message: their peers read too slowly."""
    missing: tuple[str, ...] = ()
    """The names of the workers and nodes that did not answer, and may have acted."""

    def plus(self, other: UserReached) -> UserReached:
        """Return the sum of both."""
        return UserReached(
            self.handed + other.handed,
            self.dropped + other.dropped,
            self.missing + other.missing,
        )
