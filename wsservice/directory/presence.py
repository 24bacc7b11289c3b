"""List channels and users, and the connections on one channel."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs

from .listing import Listed, Wanted, list_of

_DEFAULT = 100
MOST = 1000
"""The most channels, or users, in one answer."""


@attrs.frozen
class ChannelsWanted:
    """A part of the channels, or of the users.

    It has at most `limit`, after the name or id `after`; None starts at the first.
    """

    limit: int = _DEFAULT
    after: str | None = None


def channels(
    names: Collection[str], count_of: Callable[[str], int], part: ChannelsWanted
) -> dict[str, Any]:
    """Return a part of the channels as JSON, in the order of names.

    `count_of` returns the number of connections on a channel.
    """
    shown, following = _part(names, part)
    return {
        "total": len(names),
        "channels": [{"channel": name, "connections": count_of(name)} for name in shown],
        "next": following,
    }


def users(
    ids: Collection[str], count_of: Callable[[str], int], part: ChannelsWanted
) -> dict[str, Any]:
    """Return a part of the users as JSON, in the order of ids.

    `count_of` returns the number of connections of a user.
    """
    shown, following = _part(ids, part)
    return {
        "total": len(ids),
        "users": [{"id": id_, "connections": count_of(id_)} for id_ in shown],
        "next": following,
    }


def _part(names: Collection[str], part: ChannelsWanted) -> tuple[list[str], str | None]:
    """Return a part of some names, and the `after` of the following part."""
    after = part.after
    behind = names if after is None else [name for name in names if name > after]
    shown = heapq.nsmallest(part.limit + 1, behind)
    more = len(shown) > part.limit
    shown = shown[: part.limit]
    return shown, shown[-1] if more else None


def members(channel: str, connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """Return as JSON a part of the connections on a channel, and their total."""
    return {"channel": channel, **listed_of(connections, wanted)}


def listed_of(connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """Return as JSON a part of some connections in any order, and their total."""
    everybody = tuple(connections)
    if wanted.limit:
        everybody = tuple(sorted(everybody, key=lambda each: int(each.id)))
    return list_of(everybody, wanted)
