"""The list of connections, and closing one."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs
from autobahn.websocket.protocol import WebSocketProtocol

from ..counting import Traffic
from ..lines import rfc3339
from ..policy import CloseCode
from .ids import Id

_DEFAULT = 100
MOST = 1000
"""Connections in one answer."""

SHOWN = 256
"""Characters of what a peer said of itself."""

_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014})
"""Of those below 3000, the codes that a server may send."""

_MOST_OF_REASON = 123
"""Octets of a close frame's reason (RFC 6455, 5.5)."""

_STATES = {
    WebSocketProtocol.STATE_CONNECTING: "opening",
    WebSocketProtocol.STATE_OPEN: "open",
    WebSocketProtocol.STATE_CLOSING: "closing",
    WebSocketProtocol.STATE_CLOSED: "closed",
}


class Listed(Protocol):
    """What is shown of a connection."""

    id: str
    who: str
    channel: str
    state: int
    since: float
    rtt: float | None
    user_agent: str

    def traffic(self) -> Traffic:
        """What passed on it."""


class WrongError(ValueError):
    """A request that cannot be meant so; its text says what is allowed."""


@attrs.frozen
class Wanted:
    """Which part of the list: `limit` connections behind the one with the id `after`.

    That is one of `node`, where lists are of several.
    """

    limit: int = _DEFAULT
    after: int = 0
    node: str = ""

    @classmethod
    def of(cls, query: str, several: bool = False) -> Wanted:
        """As the query of a target has it; of `several` nodes, or of one. Raises `WrongError`."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=16)
        except ValueError:
            raise WrongError("the query has too much; give limit and after") from None
        limit, after = _DEFAULT, Id(0)
        for name, text in pairs:
            if name not in ("limit", "after"):
                raise WrongError("there is no such parameter; give limit and after")
            id_ = Id.of(text)
            if id_ is None or (id_.node and not (several and name == "after")):
                raise WrongError(f"{name} is no number; {_ALLOWED}")
            if name == "after":
                after = id_
            else:
                limit = id_.number
        if not 1 <= limit <= MOST:
            raise WrongError(f"limit is not within its bounds; {_ALLOWED}")
        return cls(limit, after.number, after.node)


_ALLOWED = f"give a limit from 1 to {MOST}, and the next of the answer before as after"


def list_of(connections: Iterable[Listed], wanted: Wanted) -> dict[str, Any]:
    """A part of the list, as its JSON has it. Connections are in the order of their ids."""
    everybody = tuple(connections)
    start = bisect_right(everybody, wanted.after, key=lambda each: int(each.id))
    shown = everybody[start : start + wanted.limit]
    more = start + wanted.limit < len(everybody)
    return {
        "total": len(everybody),
        "connections": [_shown(each) for each in shown],
        "next": shown[-1].id if more else None,
    }


def find(connections: Iterable[Any], id_: str) -> Any:
    """The connection with an id, None where there is none any more."""
    return next((each for each in connections if each.id == id_), None)


def _shown(connection: Listed) -> dict[str, Any]:
    traffic, rtt = connection.traffic(), connection.rtt
    return {
        "id": connection.id,
        "peer": connection.who.partition(" ")[2],
        "channel": _cut(connection.channel),
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
    """How a connection is to be closed."""

    code: int = CloseCode.NORMAL
    reason: str = ""

    @classmethod
    def of(cls, body: bytes) -> Closing:
        """As the body of a request has it, which may be empty. Raises `WrongError`."""
        if not body.strip():
            return cls()
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise WrongError(f"the body is no JSON; {_BODY}") from None
        if not isinstance(said, dict) or not said.keys() <= {"code", "reason"}:
            raise WrongError(f"the body has something else; {_BODY}")
        code, reason = said.get("code", int(CloseCode.NORMAL)), said.get("reason", "")
        if type(code) is not int or not (code in _CODES or 3000 <= code <= 4999):
            codes = ", ".join(map(str, sorted(_CODES)))
            raise WrongError(f"code cannot be sent; give one of {codes}, or from 3000 to 4999")
        if not isinstance(reason, str) or not _is_short(reason):
            raise WrongError(f"reason is too long; give at most {_MOST_OF_REASON} octets of UTF-8")
        return cls(code, reason)


_BODY = 'give nothing, or such as {"code": 1001, "reason": "maintenance"}'


def _is_short(reason: str) -> bool:
    try:
        return len(reason.encode()) <= _MOST_OF_REASON
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
