"""Parts of the lists of several nodes, put together as one. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..admin.ids import Id
from ..admin.listing import Wanted
from ..admin.presence import Part as ChannelsWanted
from .questions import Channels, Part


@attrs.frozen
class Portion:
    """What of a node's list is to be asked for."""

    limit: int
    after: int


def portions(wanted: Wanted, totals: Mapping[str, int]) -> tuple[dict[str, Portion], bool]:
    """What to ask of which nodes, and whether there is more on others.

    The whole list has one node's connections after another's, in the order of their names.
    `totals` are those that answered, and how many connections each has.
    """
    asked: dict[str, Portion] = {}
    sure = 0
    for node in sorted(totals):
        if node < wanted.node or not totals[node]:
            continue
        if sure >= wanted.limit:
            return asked, True
        if node == wanted.node:
            # How many of them are behind that one is not known.
            asked[node] = Portion(wanted.limit, wanted.after)
        else:
            asked[node] = Portion(wanted.limit - sure, 0)
            sure += totals[node]
    return asked, False


def listed(wanted: Wanted, parts: Mapping[str, Part], more: bool) -> dict[str, Any]:
    """A part of the whole list, but for its total, of what nodes have said, by their names.

    `more` tells whether there is more on others.
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


def channels(wanted: ChannelsWanted, parts: Sequence[Channels]) -> dict[str, Any]:
    """A part of all channels: the connections on one are added up over all nodes.

    How many channels there are in all is known where only one node has any, or all are here:
    else `total` is None, and `at_most` many there are.
    """
    sizes: Counter[str] = Counter()
    for part in parts:
        sizes.update(dict(part.sizes))
    # Of what comes behind the end of a part, its node may have some too.
    ends = [part.sizes[-1][0] for part in parts if part.more]
    known = sorted(name for name in sizes if not ends or name <= min(ends))
    shown = known[: wanted.limit]
    more = bool(ends) or len(known) > len(shown)
    at_most = sum(part.total for part in parts)
    total: int | None = None
    if wanted.after is None and not ends:
        total = len(sizes)
    elif sum(bool(part.total) for part in parts) < 2:
        total = at_most
    return {
        "total": total,
        "at_most": at_most if total is None else total,
        "channels": [{"channel": name, "connections": sizes[name]} for name in shown],
        "next": shown[-1] if more and shown else None,
    }
