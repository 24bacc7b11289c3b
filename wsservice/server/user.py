"""The user of a server's connection: set once it is known, and named in logs from then on."""

from __future__ import annotations

from typing import Any

from ..auth.contract import User
from ..log.peer import Who, nameless
from .identity import follow

NAMES = frozenset({"user"})
"""The attributes of a connection that behaviours may set, and cannot give another meaning."""

_KEPT = "_user"


class ConnectionUser:
    """The attribute `user` of a connection: a `User`, or None.

    A connection without a user keeps nothing for it, so that it takes no memory. To set anything
    but a `User` or None raises `TypeError`.
    """

    def __get__(self, connection: Any, owner: type | None = None) -> User | None:
        user: User | None = None if connection is None else connection.__dict__.get(_KEPT)
        return user

    def __set__(self, connection: Any, user: User | None) -> None:
        if user is None:
            if connection.__dict__.pop(_KEPT, None) is None:
                return
        elif isinstance(user, User):
            connection.__dict__[_KEPT] = user
        else:
            raise TypeError(f"user: {type(user).__name__} is not allowed; give User(id), or None")
        _name(connection, user)


def _name(connection: Any, user: User | None) -> None:
    """Name the user in logs, and find the connection by it if it is open."""
    who = connection.who
    connection.who = nameless(who) if user is None else Who.of(who, user.id)
    if connection._introduced:
        connection._logged_as = connection.factory.journal.name(connection.who, connection.channel)
    connection.factory.hub.identify(connection)
    follow(connection)
