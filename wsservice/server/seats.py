"""How many connections one user may have, and which of them goes if there are more.

A connection takes a seat of its user once its user is known, before it is open. It has the seat
until it is gone, so that a user cannot collect connections that are closing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..channels.contract import Hub
from ..config.close_codes import CloseCode
from ..http.refusal import Refusal
from ..protocol.owner import Hold
from .admission import COME_AGAIN, LATER
from .permitted import is_forbidden

NEWEST, OLDEST = "newest", "oldest"
"""The values of `--user-limit-closes`: a new connection is refused, or the oldest one is closed."""

USER_LIMIT = "user limit"
"""The label under which refusals are counted."""

REPLACED = "a newer connection of this user took its place"
"""The reason of the close frame, with 1008, for the oldest connection."""

FULL = Refusal(
    403,
    "this user has too many connections",
    "close one of them first",
    kind=USER_LIMIT,
    for_operator="--max-connections-per-user says how many a user may have",
)
NOT_KNOWN = Refusal(
    503,
    "how many connections this user has is not known now",
    COME_AGAIN,
    headers=LATER,
    kind=USER_LIMIT,
)


class SeatedConnection(Protocol):
    """A connection with a user, as it is seated."""

    id: str

    @property
    def user(self) -> Any:
        """Its user."""


class Seats:
    """The seats of users in a service of one process: the open connections of `hub` have them.

    `most` is how many a user has, 0 for any number. The factory of connections sets `hub`.
    """

    hub: Hub

    def __init__(self) -> None:
        self.most = 0
        self.closes = NEWEST

    def change(self, most: int, closes: str) -> None:
        """Set the limit for new connections. Open ones stay."""
        self.most, self.closes = most, closes

    def claim(self, connection: SeatedConnection) -> Deferred[Refusal | None] | Refusal | None:
        """Give a connection a seat of its user. Return the refusal if there is none.

        With workers the answer comes later. The connection must be open, or over, in the same turn.
        """
        if not self.most:
            return None
        held: Sequence[Any] = self.hub.user_members(connection.user.id)
        excess = too_many(held, self.most, self.closes)
        if excess is None:
            return FULL
        for each in excess:
            make_way(each)
        return None


def too_many(held: Sequence[Any], most: int, closes: str) -> Sequence[Any] | None:
    """Return which of the connections of a user must go for a new one; None if that must go.

    `held` are those that there are, the oldest first.
    """
    excess = len(held) + 1 - most
    if excess <= 0:
        return ()
    return None if closes == NEWEST else held[:excess]


def make_way(connection: Any) -> None:
    """Close an open connection with 1008, since a newer one takes its place."""
    if connection.state == connection.STATE_OPEN:
        connection.fail_connection(CloseCode.POLICY_VIOLATION, REPLACED)


def seat(connection: Any, decision: Any) -> None:
    """Accept a connection with the decision of `onConnect`, or refuse it without a seat.

    With workers the parent decides, and nothing is read until it has. Raises
    `ValueError` if the decision is wrong.
    """
    claimed = None
    if connection.user is not None and connection.factory.seats.most:
        # First, since another connection may be closed for this one.
        if connection.state != connection.STATE_CONNECTING or is_forbidden(connection):
            return
        claimed = connection.factory.seats.claim(connection)
    if isinstance(claimed, Deferred):
        connection._reader.hold(Hold.DECIDING)
        claimed.addCallback(_seated, connection, decision).addErrback(connection._denied)
    else:
        _seated(claimed, connection, decision)


def _seated(refusal: Refusal | None, connection: Any, decision: Any) -> None:
    if refusal is None:
        connection.succeedHandshake(decision)
    elif connection.state == connection.STATE_CONNECTING:
        connection._refuse(refusal)
