"""The users of a process's connections: an index, messages to users, and how many there are.

A message to a user takes the way of a message on a channel: over the bus of workers, and over
Redis. There it has the name of a channel that no client can join, since it begins with NUL.

Several processes add up their users without telling their names. Each user has a mark, a hash of
the id, and a process tells the smallest marks only. Marks are spread evenly, so that how close
together they lie tells how many there are (Bar-Yossef et al., *Counting distinct elements in a
data stream*, 2002).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from .message import ChannelMessage
from .query import LONGEST, RESERVED, octets_of

MOST_MARKS = 1024
"""The most marks that a process tells. Up to so many users a sum is exact; beyond that it is wrong
by 3 %, in two cases of three."""

_MARKS = 2**63
"""Marks are less than this, so that each reader of JSON has room for them."""


def way_to(user: str) -> str:
    """Return the name by which messages to a user travel.

    Raises `TypeError` for an id that is not text, `ValueError` for an empty one and for one of
    more than 255 octets.
    """
    if not isinstance(user, str):
        raise TypeError(f"a user's id is text, not {type(user).__name__}")
    if not user or octets_of(user) > LONGEST:
        raise ValueError(f"a user's id has 1 to {LONGEST} octets of UTF-8")
    return RESERVED + user


def user_of(name: str) -> str | None:
    """Return the user to whom a message with the name of a channel goes; None for a channel."""
    return name[1:] if name[:1] == RESERVED else None


def message_to(user: str, payload: bytes, is_binary: bool, time: float = 0.0) -> ChannelMessage:
    """Return a message to a user. Raises as `way_to`, and `TypeError` if it is not bytes."""
    if not isinstance(payload, bytes):
        raise TypeError(f"a message is bytes, not {type(payload).__name__}")
    return ChannelMessage(way_to(user), payload, is_binary, time)


class _LocalUser:
    __slots__ = ("connections", "id", "mark")

    def __init__(self, id_: str) -> None:
        digest = hashlib.blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest()
        self.id = id_
        self.mark = int.from_bytes(digest, "big") % _MARKS
        self.connections: dict[Any, None] = {}


class UserIndex:
    """The open connections of a process by user. Connections without a user are not in it."""

    __slots__ = ("_by_connection", "_users")

    def __init__(self) -> None:
        self._users: dict[str, _LocalUser] = {}
        self._by_connection: dict[Any, _LocalUser] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def count(self, user: str) -> int:
        """Return how many connections a user has."""
        found = self._users.get(user)
        return 0 if found is None else len(found.connections)

    def connections(self, user: str) -> tuple[Any, ...]:
        """Return the connections of a user, in the order in which they joined."""
        found = self._users.get(user)
        return () if found is None else tuple(found.connections)

    def user(self, connection: Any) -> str | None:
        """Return the user of a connection, None if it is not here."""
        found = self._by_connection.get(connection)
        return None if found is None else found.id

    def join(self, connection: Any, user: str) -> bool:
        """Add a connection. Return True if it is the first one of its user."""
        found = self._users.get(user)
        is_first = found is None
        if found is None:
            found = self._users[user] = _LocalUser(user)
        found.connections[connection] = None
        self._by_connection[connection] = found
        return is_first

    def leave(self, connection: Any) -> str | None:
        """Remove a connection. Return its user if it was the last one of that."""
        found = self._by_connection.pop(connection, None)
        if found is None:
            return None
        del found.connections[connection]
        if found.connections:
            return None
        del self._users[found.id]
        return found.id

    def marks(self, connections: Iterable[Any]) -> set[int]:
        """Return the marks of the users of some connections."""
        if not self._users:
            return set()
        known = self._by_connection
        return {known[each].mark for each in connections if each in known}


def told(marks: Collection[int]) -> tuple[int, ...]:
    """Return the marks that a process tells others: the smallest ones, in order."""
    return tuple(heapq.nsmallest(MOST_MARKS, marks))


def together(parts: Iterable[tuple[int, ...]]) -> tuple[int, tuple[int, ...]]:
    """Return how many users several processes have in all, and the marks to tell for all of them.

    Each part has the marks that `told` returns.
    """
    known: set[int] = set()
    up_to = _MARKS
    for part in parts:
        known.update(part)
        if len(part) >= MOST_MARKS:
            # The process may have others behind its last mark.
            up_to = min(up_to, part[-1])
    if up_to == _MARKS:
        return len(known), told(known)
    # All marks below the limit are known, the limit itself is one more.
    below = sum(mark < up_to for mark in known)
    return round(below * _MARKS / up_to), told([mark for mark in known if mark <= up_to])
