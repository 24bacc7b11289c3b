"""The questions between nodes and their answers, as JSON. PURE.

A message is a JSON object in ASCII. A question has `ask`, the kind of question. An answer has
`answer`, the id of its question, and `said`, or `wrong` if the question was not understood. Both
have `from`, the sending node, and `v`, the version of this format. Other members are ignored: later
versions may add some.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeVar

import attrs

from ..channels.query import LONGEST, is_too_long
from ..config.close_codes import checked_close
from ..directory.ids import is_node
from ..directory.listing import MOST, SHOWN, Closing
from ..directory.outcomes import SendOutcome
from .checking import (
    MalformedError,
    a_line,
    a_list,
    a_number,
    a_switch,
    a_text,
    an_object,
    member,
    parsed,
    seconds,
)
from .facts import Facts

VERSION = 1

MOST_OF_ANSWER = 512 * 1024
"""The approximate octets of a part of a list; a longer one is cut."""

_ID = re.compile(r"[0-9a-f]{32}")
_WHEN = 64
_MOST_WORKERS = 1024
_PEER = 300
_STATES = ("opening", "open", "closing", "closed")

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """A question to a node."""

    ask: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Return its arguments."""

    def answer_of(self, said: Mapping[str, Any]) -> T_co:
        """Parse the answer. Raises `MalformedError`."""


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


@attrs.frozen
class AskFacts:
    """Ask for the facts of a node."""

    ask: ClassVar[str] = "facts"

    @classmethod
    def of(cls, _said: Mapping[str, Any]) -> AskFacts:
        return cls()

    def as_json(self) -> dict[str, Any]:
        return {}

    def answer_of(self, said: Mapping[str, Any]) -> Facts:
        return Facts.of(said)


@attrs.frozen
class AskCount:
    """Ask for the number of connections, or of those on a channel."""

    ask: ClassVar[str] = "count"

    channel: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskCount:
        return cls(_channel(said, "channel"))

    def as_json(self) -> dict[str, Any]:
        return {"channel": self.channel}

    def answer_of(self, said: Mapping[str, Any]) -> ConnectionCount:
        return ConnectionCount(a_number(member(said, "total"), "total"), _missing(said))


@attrs.frozen
class AskList:
    """Ask for at most `limit` connections, or those on a channel, with numbers above `after`."""

    ask: ClassVar[str] = "list"

    channel: str | None
    limit: int
    after: int

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskList:
        limit = a_number(member(said, "limit"), "limit", 1, MOST)
        return cls(_channel(said, "channel"), limit, a_number(member(said, "after"), "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ListPart:
        rows = tuple(map(_row, a_list(member(said, "rows"), "rows", self.limit)))
        numbers = [self.after, *(int(row["id"]) for row in rows)]
        if any(one >= other for one, other in pairwise(numbers)):
            raise MalformedError("the rows are not in order")
        more = a_switch(member(said, "more"), "more")
        return ListPart(rows, _with_some(more, rows), _missing(said))


@attrs.frozen
class AskChannels:
    """Ask for at most `limit` channels, after the name `after`; None starts at the first."""

    ask: ClassVar[str] = "channels"

    limit: int
    after: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskChannels:
        return cls(a_number(member(said, "limit"), "limit", 1, MOST), _channel(said, "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ChannelsPart:
        rows = a_list(member(said, "rows"), "rows", self.limit)
        sizes = tuple(map(_size, rows))
        names = [*([] if self.after is None else [self.after]), *(name for name, _ in sizes)]
        if any(one >= other for one, other in pairwise(names)):
            raise MalformedError("the channels are not in order")
        more = a_switch(member(said, "more"), "more")
        total = a_number(member(said, "total"), "total", len(sizes))
        # Nodes of an earlier version do not send this member.
        is_exact = a_switch(said.get("exact", True), "exact")
        return ChannelsPart(sizes, _with_some(more, sizes), total, _missing(said), is_exact)


@attrs.frozen
class AskClose:
    """Ask to close a connection. The answer tells whether it was there."""

    ask: ClassVar[str] = "close"

    connection: int
    closing: Closing

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskClose:
        closing = _closing(member(said, "code"), member(said, "reason"))
        return cls(a_number(member(said, "connection"), "connection"), closing)

    def as_json(self) -> dict[str, Any]:
        code, reason = int(self.closing.code), self.closing.reason
        return {"connection": self.connection, "code": code, "reason": reason}

    def answer_of(self, said: Mapping[str, Any]) -> bool:
        return a_switch(member(said, "closed"), "closed")


@attrs.frozen
class AskSend:
    """Ask to send a message to a connection. The answer is the outcome."""

    ask: ClassVar[str] = "send"

    connection: int
    payload: bytes
    is_binary: bool

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskSend:
        data = member(said, "data64")
        is_binary = a_switch(member(said, "binary"), "binary")
        try:
            payload = base64.b64decode(data, validate=True)
            if not is_binary:
                payload.decode()
        except (TypeError, ValueError, binascii.Error):
            raise MalformedError("its message is malformed") from None
        return cls(a_number(member(said, "connection"), "connection"), payload, is_binary)

    def as_json(self) -> dict[str, Any]:
        data = base64.b64encode(self.payload).decode()
        return {"connection": self.connection, "data64": data, "binary": self.is_binary}

    def answer_of(self, said: Mapping[str, Any]) -> SendOutcome:
        try:
            return SendOutcome(member(said, "outcome"))
        except ValueError:
            raise MalformedError("there is no such outcome") from None


_KNOWN: dict[str, Callable[[Mapping[str, Any]], Question[Any]]] = {
    AskFacts.ask: AskFacts.of,
    AskCount.ask: AskCount.of,
    AskList.ask: AskList.of,
    AskChannels.ask: AskChannels.of,
    AskClose.ask: AskClose.of,
    AskSend.ask: AskSend.of,
}


@attrs.frozen
class Asked:
    """A question that came. `question` is None if this node does not understand it: see `wrong`."""

    sender: str
    id: str
    question: Question[Any] | None
    wrong: str = ""


@attrs.frozen
class Answered:
    """An answer that came. `said` is None if the other node did not understand the question."""

    sender: str
    id: str
    said: Mapping[str, Any] | None


def asked(sender: str, id_: str, question: Question[Any]) -> bytes:
    """Return a question as octets to send."""
    return _message(sender, ask=question.ask, id=id_, **question.as_json())


def answered(sender: str, id_: str, said: Mapping[str, Any]) -> bytes:
    """Return an answer as octets to send."""
    return _message(sender, answer=id_, said=said)


def not_understood(sender: str, id_: str, wrong: str) -> bytes:
    """Return the answer to an invalid question, as octets to send."""
    return _message(sender, answer=id_, wrong=wrong)


def _message(sender: str, **said: Any) -> bytes:
    return json.dumps({"v": VERSION, "from": sender, **said}, separators=(",", ":")).encode()


def read(octets: bytes, most: int) -> Asked | Answered:
    """Parse a message of at most `most` octets. Raises `MalformedError`."""
    said = parsed(octets, most)
    sender = member(said, "from")
    if not is_node(sender):
        raise MalformedError("from is not a node's name")
    if "answer" in said:
        id_ = _id(said["answer"])
        if said.get("v") != VERSION or "said" not in said:
            return Answered(sender, id_, None)
        return Answered(sender, id_, an_object(said["said"], "what was said"))
    id_, what = _id(member(said, "id")), a_text(member(said, "ask"), "ask", SHOWN)
    if said.get("v") != VERSION or what not in _KNOWN:
        return Asked(sender, id_, None, "there is no such question")
    try:
        return Asked(sender, id_, _KNOWN[what](said))
    except MalformedError as error:
        return Asked(sender, id_, None, str(error))


def part_of(rows: list[Any], more: bool) -> tuple[list[Any], bool]:
    """Return the rows that fit into one answer, at least one, and whether more follow."""
    size = 0
    for count, row in enumerate(rows):
        size += len(json.dumps(row))
        if count and size > MOST_OF_ANSWER:
            return rows[:count], True
    return rows, more


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise MalformedError("it has no id")
    return value


def _closing(code: object, reason: object) -> Closing:
    if isinstance(code, int) and isinstance(reason, str):
        with suppress(ValueError):
            checked_close(code, reason)
            return Closing(code, reason)
    raise MalformedError("its close cannot be sent")


def _channel(said: Mapping[str, Any], name: str) -> str | None:
    value = member(said, name)
    return None if value is None else _name(value, name)


def _name(value: object, what: str) -> str:
    name = a_text(value, what, LONGEST)
    if is_too_long(name):
        raise MalformedError(f"{what} has more than {LONGEST} octets")
    return name


def _with_some(more: bool, rows: tuple[Any, ...]) -> bool:
    if more and not rows:
        raise MalformedError("more rows are announced after none")
    return more


def _missing(said: Mapping[str, Any]) -> tuple[str, ...]:
    # Nodes of an earlier version do not send this member.
    names = a_list(said.get("missing", []), "missing", _MOST_WORKERS)
    return tuple(a_line(each, "a worker's name", _WHEN) for each in names)


def _size(value: object) -> tuple[str, int]:
    pair = a_list(value, "a channel", 2)
    if len(pair) != 2:
        raise MalformedError("a channel is not a pair")
    return _name(pair[0], "a channel's name"), a_number(pair[1], "a count", 1)


def _row(value: object) -> dict[str, Any]:
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
