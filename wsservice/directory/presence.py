"""List channels, and the connections on one channel."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs

from .listing import Listed, Wanted, list_of

_DEFAULT = 100
MOST = 1000
"""The most channels in one answer."""


@attrs.frozen
class ChannelsWanted:
    """A part of the channels: at most `limit`, after the name `after`; None starts at the first."""

    limit: int = _DEFAULT
    after: str | None = None


def channels(
    names: Collection[str], count_of: Callable[[str], int], part: ChannelsWanted
) -> dict[str, Any]:
    """Return a part of the channels as JSON, in the order of names.

    `count_of` returns the number of connections on a channel.
    """
    after = part.after
    behind = names if after is None else [name for name in names if name > after]
    shown = heapq.nsmallest(part.limit + 1, behind)
    more = len(shown) > part.limit
    shown = shown[: part.limit]
    return {
        "total": len(names),
        "channels": [{"channel": name, "connections": count_of(name)} for name in shown],
        "next": shown[-1] if more else None,
    }


def members(channel: str, connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """Return as JSON a part of the connections on a channel, and their total."""
    everybody = tuple(connections)
    if wanted.limit:
        everybody = tuple(sorted(everybody, key=lambda each: int(each.id)))
    listed = list_of(everybody, wanted)
    return {"channel": channel, **listed}
