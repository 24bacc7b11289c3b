"""Merge parts of the lists of several nodes into one. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..directory.ids import Id
from ..directory.listing import Wanted
from ..directory.presence import ChannelsWanted
from .rows import ChannelsPart, ListPart


@attrs.frozen
class Portion:
    """A part of one node's list: at most `limit` connections, with numbers above `after`."""

    limit: int
    after: int


def portions(wanted: Wanted, totals: Mapping[str, int]) -> tuple[dict[str, Portion], bool]:
    """Return the part to ask each node for, and whether more nodes follow.

    The whole list holds the connections node by node, in the order of the nodes' names. `totals`
    are the numbers of connections of the nodes that answered.
    """
    asked: dict[str, Portion] = {}
    sure = 0
    for node in sorted(totals):
        if node < wanted.node or not totals[node]:
            continue
        if sure >= wanted.limit:
            return asked, True
        if node == wanted.node:
            # The totals do not tell how many of this node's connections follow `after`.
            asked[node] = Portion(wanted.limit, wanted.after)
        else:
            asked[node] = Portion(wanted.limit - sure, 0)
            sure += totals[node]
    return asked, False


def listed(wanted: Wanted, parts: Mapping[str, ListPart], more: bool) -> dict[str, Any]:
    """Return a part of the whole list, without its total, from the `parts` of nodes, by name.

    `more` tells whether other nodes have more connections.
    """
    shown: list[dict[str, Any]] = []
    for node in sorted(parts):
        part = parts[node]
        room = wanted.limit - len(shown)
        if not room:
            more = more or bool(part.rows)
            break
        shown += [{**row, "id": str(Id(int(row["id"]), node))} for row in part.rows[:room]]
        if part.more or len(part.rows) > room:
            more = True
            break
    return {"connections": shown, "next": shown[-1]["id"] if more and shown else None}


def channels(wanted: ChannelsWanted, parts: Sequence[ChannelsPart]) -> dict[str, Any]:
    """Return a part of all channels; connections are added up over all nodes, or workers.

    `total` is exact if all channels are here, or if only one node has channels and knows their
    number. Otherwise it is None, and `at_most` is an upper bound.
    """
    return _sums(wanted, parts, "channels", "channel")


def users(wanted: ChannelsWanted, parts: Sequence[ChannelsPart]) -> dict[str, Any]:
    """Return a part of all users as `channels` does; `parts` have ids in the place of names."""
    return _sums(wanted, parts, "users", "id")


def _sums(
    wanted: ChannelsWanted, parts: Sequence[ChannelsPart], rows: str, name: str
) -> dict[str, Any]:
    sizes: Counter[str] = Counter()
    for part in parts:
        sizes.update(dict(part.sizes))
    # Another node may have connections on a channel behind the end of its part, so that a sum there
    # would be too small.
    ends = [part.sizes[-1][0] for part in parts if part.more]
    known = sorted(each for each in sizes if not ends or each <= min(ends))
    shown = known[: wanted.limit]
    more = bool(ends) or len(known) > len(shown)
    at_most = sum(part.total for part in parts)
    total: int | None = None
    if wanted.after is None and not ends:
        total = len(sizes)
    elif sum(bool(part.total) for part in parts) < 2 and all(part.is_exact for part in parts):
        total = at_most
    return {
        "total": total,
        "at_most": at_most if total is None else total,
        rows: [{name: each, "connections": sizes[each]} for each in shown],
        "next": shown[-1] if more and shown else None,
    }
