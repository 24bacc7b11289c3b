"""Which channels there are, and who is on one."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import attrs

from .listing import Listed, Wanted, WrongError, list_of

_DEFAULT = 100
MOST = 1000
"""Channels in one answer."""

_ALLOWED = f"give a limit from 1 to {MOST}, and the next of the answer before as after"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@attrs.frozen
class Part:
    """Which part of the channels: `limit` of them behind the name `after`, None for the first."""

    limit: int = _DEFAULT
    after: str | None = None

    @classmethod
    def of(cls, query: str) -> Part:
        """As the query of a target has it. Raises `WrongError`."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=16, errors="strict")
        except ValueError:
            raise WrongError("the query cannot be read; give limit and after") from None
        given = dict(pairs)
        if not given.keys() <= {"limit", "after"}:
            raise WrongError("there is no such parameter; give limit and after")
        text = given.get("limit", str(_DEFAULT))
        if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST:
            raise WrongError(f"limit is not within its bounds; {_ALLOWED}")
        return cls(int(text), given.get("after"))


def channels(sizes: Iterable[tuple[str, int]], part: Part) -> dict[str, Any]:
    """A part of the channels, by their names, and how many connections are on each."""
    everything = list(sizes)
    behind = [
        (name, count) for name, count in everything if part.after is None or name > part.after
    ]
    shown = heapq.nsmallest(part.limit + 1, behind)
    more = len(shown) > part.limit
    shown = shown[: part.limit]
    return {
        "total": len(everything),
        "channels": [{"channel": name, "connections": count} for name, count in shown],
        "next": shown[-1][0] if more else None,
    }


def members(channel: str, connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """How many are on a channel, and a part of their list, as that of all connections is."""
    listed = list_of(sorted(connections, key=lambda each: int(each.id)), wanted)
    return {"channel": channel, **listed}
