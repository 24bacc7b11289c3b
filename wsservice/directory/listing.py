"""List connections for operators, and say how to close one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Protocol

import attrs
from autobahn.websocket.protocol import WebSocketProtocol

from ..config.close_codes import CloseCode
from ..log.lines import rfc3339
from ..log.peer import peer_in, user_in
from ..metrics import Traffic

_DEFAULT = 100
MOST = 1000
"""The most connections in one answer."""

SHOWN = 256
"""The most characters that are shown of a text from a peer."""

_STATES = {
    WebSocketProtocol.STATE_CONNECTING: "opening",
    WebSocketProtocol.STATE_OPEN: "open",
    WebSocketProtocol.STATE_CLOSING: "closing",
    WebSocketProtocol.STATE_CLOSED: "closed",
}


class Listed(Protocol):
    """The attributes of a connection that the list shows."""

    id: str
    who: str
    channel: str
    state: int
    since: float
    rtt: float | None
    user_agent: str

    def traffic(self) -> Traffic:
        """Return the messages and octets that passed on it."""


@attrs.frozen
class Wanted:
    """A part of the list: at most `limit` connections, after the one with the id `after`.

    A `limit` of 0 asks for the total only. `node` is the node of the connection `after`, in a list
    of several nodes. With a `user`, the list has the connections of that user only.
    """

    limit: int = _DEFAULT
    after: int = 0
    node: str = ""
    user: str | None = None


def list_of(connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """Return a part of the list as JSON: `total`, `connections` in the order of ids, and `next`."""
    everybody = tuple(connections)
    if not wanted.limit:
        return {"total": len(everybody), "connections": [], "next": None}
    start = bisect_right(everybody, wanted.after, key=lambda each: int(each.id))
    shown = everybody[start : start + wanted.limit]
    more = start + wanted.limit < len(everybody)
    return {
        "total": len(everybody),
        "connections": [_shown(each) for each in shown],
        "next": shown[-1].id if more else None,
    }


def find(connections: Iterable[Any], id_: str) -> Any:
    """Return the connection with an id; None if it is gone."""
    return next((each for each in connections if each.id == id_), None)


def _shown(connection: Listed) -> dict[str, Any]:
    traffic, rtt = connection.traffic(), connection.rtt
    return {
        "id": connection.id,
        "peer": peer_in(connection.who),
        "channel": _cut(connection.channel),
        **({"user": user} if (user := user_in(connection.who)) else {}),
        "state": _STATES.get(connection.state, "opening"),
        "since": rfc3339(connection.since),
        "messages": {"received": traffic.messages_received, "sent": traffic.messages_sent},
        "octets": {"received": traffic.octets_received, "sent": traffic.octets_sent},
        "queue": traffic.queued,
        "rtt": None if rtt is None else round(rtt, 6),
        "user_agent": _cut(connection.user_agent),
    }


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "\u2026"


@attrs.frozen
class Closing:
    """The code and the reason with which to close a connection."""

    code: int = CloseCode.NORMAL
    reason: str = ""
