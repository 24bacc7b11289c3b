"""Judge a connection by rules and claims, in the opening handshake and for its behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..auth.action import Action
from ..auth.claims import NOTHING, ChannelClaims, ClaimError
from ..auth.contract import User
from ..auth.permissions import UNRESTRICTED, Permissions
from ..auth.refusals import FORBIDDEN
from ..channels.query import check_name
from ..http.refusal import Refusal

_KEPT = "_claims"


def forbidden_by(permissions: Permissions, channels: tuple[str, ...]) -> Refusal | None:
    """Return the refusal of the first channel that a connection may not subscribe to, or None."""
    for channel in channels:
        ruling = permissions.ruling(Action.SUBSCRIBE, channel)
        if not ruling.is_allowed:
            who = "the anonymous" if permissions.user is None else "this user"
            return Refusal(
                403,
                f"{who} may not subscribe to the channel",
                shown=f'"{channel}"',
                is_told=True,
                kind=FORBIDDEN,
                for_operator=ruling.why,
            )
    return None


def _claims_of(user: User | None) -> ChannelClaims:
    return NOTHING if user is None else ChannelClaims.of(user.claims)


def claims_of(connection: Any) -> ChannelClaims:
    """Return what the claims of a connection's user say about channels. Raises `ClaimError`."""
    user = connection.user
    if user is None:
        return NOTHING
    # Kept with the user whose they are: a renewal, or `onConnect`, gives the connection another.
    kept: tuple[User, ChannelClaims] | None = connection.__dict__.get(_KEPT)
    if kept is None or kept[0] is not user:
        kept = connection.__dict__[_KEPT] = (user, _claims_of(user))
    return kept[1]


def permissions_of(connection: Any) -> Permissions:
    """Return what a connection may do: see `OpeningProtocol.permissions`."""
    rules = connection.factory.channel_rules
    if rules is None:
        return UNRESTRICTED
    return Permissions(rules, connection.user, claims_of(connection), connection.channels)


def is_forbidden(connection: Any) -> bool:
    """Refuse the handshake if a connection may not be on its channels, and return True.

    Raises `ChannelNameError` for a name that no channel may have.
    """
    for channel in connection.channels:
        check_name(channel)  # onConnect may have given it another
    if connection.factory.channel_rules is None:
        return False
    refusal = objection(connection, connection.user)
    if refusal is not None:
        connection._refuse(refusal)
    return refusal is not None


def objection(connection: Any, user: User | None) -> Refusal | None:
    """Return why a user may not be on a connection's channels, or None."""
    rules, channels = connection.factory.channel_rules, connection.channels
    if rules is None:
        return None
    try:
        claims = claims_of(connection) if user is connection.user else _claims_of(user)
    except ClaimError as error:
        # A good credential all the same: a client that gets 401 would come with it again.
        return Refusal(403, str(error), "have the token made anew", kind=FORBIDDEN)
    return forbidden_by(Permissions(rules, user, claims, channels), channels)


def not_told(connection: Any, channels: Iterable[str]) -> list[str]:
    """Return the channels whose past messages a client does not get.

    They are none of its business, or nothing is kept of them.
    """
    may, keep = permissions_of(connection).may, connection.factory.hub.keep
    return [
        channel for channel in channels if not (keep(channel).size and may(Action.HISTORY, channel))
    ]
