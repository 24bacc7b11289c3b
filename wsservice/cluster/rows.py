"""The parts of lists that nodes answer with, as JSON. PURE.

Each function that reads a part raises `MalformedError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

import attrs

from ..auth.contract import check_user_id
from ..channels.query import LONGEST, is_too_long
from ..channels.users import MOST_MARKS
from ..config.close_codes import checked_close
from ..directory.listing import SHOWN, Closing
from .checking import (
    MalformedError,
    a_line,
    a_list,
    a_number,
    a_switch,
    a_text,
    an_object,
    member,
    seconds,
)

_WHEN = 64
_MOST_WORKERS = 1024
_PEER = 300
_STATES = ("opening", "open", "closing", "closed")


@attrs.frozen
class ListPart:
    """A part of a list. `more` tells whether other rows follow."""

    rows: tuple[dict[str, Any], ...]
    more: bool
    missing: tuple[str, ...] = ()
    """The names of the node's workers that did not answer it."""


@attrs.frozen
class ChannelsPart:
    """A part of a node's channels, with their numbers of connections.

    `total` is the number of all its channels.
    """

    sizes: tuple[tuple[str, int], ...]
    more: bool
    total: int
    missing: tuple[str, ...] = ()
    """The names of the node's workers that did not answer it."""
    is_exact: bool = True
    """True if `total` is exact. Otherwise it is an upper bound that may count a channel twice."""


@attrs.frozen
class ConnectionCount:
    """The number of a node's connections, without those of the workers in `missing`."""

    total: int
    missing: tuple[str, ...] = ()
    marks: tuple[int, ...] = ()
    """The marks of the users of these connections, if they were asked for."""


def list_in(said: Mapping[str, Any], limit: int, after: int) -> ListPart:
    """Return the answer to a question for at most `limit` connections above `after`."""
    rows = tuple(map(row_of, a_list(member(said, "rows"), "rows", limit)))
    numbers = [after, *(int(row["id"]) for row in rows)]
    if any(one >= other for one, other in pairwise(numbers)):
        raise MalformedError("the rows are not in order")
    more = a_switch(member(said, "more"), "more")
    return ListPart(rows, with_some(more, rows), missing_of(said))


def closing_of(code: object, reason: object) -> Closing:
    """Return the code and reason with which to close."""
    if isinstance(code, int) and isinstance(reason, str):
        with suppress(ValueError):
            checked_close(code, reason)
            return Closing(code, reason)
    raise MalformedError("its close cannot be sent")


def channel_of(said: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is the name of a channel, or null."""
    value = member(said, name)
    return None if value is None else name_of(value, name)


def name_of(value: object, what: str) -> str:
    """Return the name of a channel."""
    name = a_text(value, what, LONGEST)
    if is_too_long(name):
        raise MalformedError(f"{what} has more than {LONGEST} octets")
    return name


def with_some(more: bool, rows: tuple[Any, ...]) -> bool:
    """Return True if more rows follow. They follow at least one."""
    if more and not rows:
        raise MalformedError("more rows are announced after none")
    return more


def missing_of(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the workers that did not answer their node."""
    # Nodes of an earlier version do not send this member.
    names = a_list(said.get("missing", []), "missing", _MOST_WORKERS)
    return tuple(a_line(each, "a worker's name", _WHEN) for each in names)


def size_of(value: object) -> tuple[str, int]:
    """Return the name of a channel, and its number of connections."""
    pair = a_list(value, "a channel", 2)
    if len(pair) != 2:
        raise MalformedError("a channel is not a pair")
    return name_of(pair[0], "a channel's name"), a_number(pair[1], "a count", 1)


def row_of(value: object) -> dict[str, Any]:
    """Validate a connection in the form that `listing` gives it."""
    said = an_object(value, "a connection")
    id_ = member(said, "id")
    if not isinstance(id_, str) or not id_.isascii() or not id_.isdigit() or len(id_) > 20:
        raise MalformedError("a connection has no id")
    state, rtt = member(said, "state"), member(said, "rtt")
    if state not in _STATES:
        raise MalformedError("there is no such state")
    return {
        "id": id_,
        "peer": a_text(member(said, "peer"), "peer", _PEER),
        "channel": a_text(member(said, "channel"), "channel", SHOWN),
        **({"user": user_in(said, "user")} if "user" in said else {}),
        "state": state,
        "since": a_line(member(said, "since"), "since", _WHEN),
        "messages": _both(said, "messages"),
        "octets": _both(said, "octets"),
        "queue": a_number(member(said, "queue"), "queue"),
        "rtt": None if rtt is None else seconds(rtt, "rtt"),
        "user_agent": a_text(member(said, "user_agent"), "user_agent", SHOWN),
    }


def _both(said: Mapping[str, Any], name: str) -> dict[str, int]:
    both = an_object(member(said, name), name)
    return {each: a_number(member(both, each), name) for each in ("received", "sent")}


def user_in(said: Mapping[str, Any], name: str) -> str:
    """Return a member that is the id of a user."""
    return user_id(member(said, name))


def user_id(value: object) -> str:
    """Return the id of a user."""
    try:
        return check_user_id(value)
    except ValueError as error:
        raise MalformedError(str(error)) from None


def marks_in(said: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the marks of users: see `channels.users.told`."""
    # Nodes of an earlier version do not send this member, and nodes without users neither.
    given = a_list(said.get("marks", []), "marks", MOST_MARKS)
    marks = tuple(a_number(each, "a mark") for each in given)
    if any(one >= other for one, other in pairwise(marks)):
        raise MalformedError("the marks are not in order")
    return marks
