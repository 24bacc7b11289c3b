"""What nodes ask of each other, and how it is answered. PURE.

A message is an object of JSON, in ASCII. A question has `ask`, which tells what; an answer has
`answer`, the id of its question, and `said`, or `wrong` where the question was not understood.
Both have `from`, the node, and `v`, the version of all this. What else an object has is for
later versions, and not looked at.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeVar

import attrs

from ..admin.ids import is_node
from ..admin.listing import MOST, SHOWN, Closing, WrongError
from ..admin.people import CLOSING, DROPPED, HANDED, OPENING
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

LONGEST_NAME = 64 * 1024
"""Characters of a channel's name: no request has room for a longer one."""

MOST_OF_ANSWER = 512 * 1024
"""Octets of a part of a list, about: one that has more ends sooner."""

_ID = re.compile(r"[0-9a-f]{32}")
_WHEN = 64
_PEER = 300
_OUTCOMES = (OPENING, CLOSING, HANDED, DROPPED, None)
_STATES = ("opening", "open", "closing", "closed")

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """Something that a node is asked."""

    ask: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """What it says, besides what it asks."""

    def answer_of(self, said: Mapping[str, Any]) -> T_co:
        """Its answer, out of what was said. Raises `MalformedError`."""


@attrs.frozen
class Part:
    """A part of a list, and whether there is more behind it."""

    rows: tuple[dict[str, Any], ...]
    more: bool


@attrs.frozen
class Channels:
    """A part of a node's channels, each with how many are on it, and how many it has in all."""

    sizes: tuple[tuple[str, int], ...]
    more: bool
    total: int


@attrs.frozen
class AskFacts:
    """What a node is, and does."""

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
    """How many connections there are, or are on a channel."""

    ask: ClassVar[str] = "count"

    channel: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskCount:
        return cls(_channel(said, "channel"))

    def as_json(self) -> dict[str, Any]:
        return {"channel": self.channel}

    def answer_of(self, said: Mapping[str, Any]) -> int:
        return a_number(member(said, "total"), "total")


@attrs.frozen
class AskList:
    """At most `limit` connections, or those of a channel, with numbers behind `after`."""

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

    def answer_of(self, said: Mapping[str, Any]) -> Part:
        rows = tuple(map(_row, a_list(member(said, "rows"), "rows", self.limit)))
        numbers = [self.after, *(int(row["id"]) for row in rows)]
        if any(one >= other for one, other in pairwise(numbers)):
            raise MalformedError("the rows are not in order")
        more = a_switch(member(said, "more"), "more")
        return Part(rows, _with_some(more, rows))


@attrs.frozen
class AskChannels:
    """At most `limit` channels, whose names come behind `after`; None for the first."""

    ask: ClassVar[str] = "channels"

    limit: int
    after: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskChannels:
        return cls(a_number(member(said, "limit"), "limit", 1, MOST), _channel(said, "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> Channels:
        rows = a_list(member(said, "rows"), "rows", self.limit)
        sizes = tuple(map(_size, rows))
        names = [*([] if self.after is None else [self.after]), *(name for name, _ in sizes)]
        if any(one >= other for one, other in pairwise(names)):
            raise MalformedError("the channels are not in order")
        more = a_switch(member(said, "more"), "more")
        total = a_number(member(said, "total"), "total", len(sizes))
        return Channels(sizes, _with_some(more, sizes), total)


@attrs.frozen
class AskClose:
    """Close a connection: whether there was one."""

    ask: ClassVar[str] = "close"

    connection: int
    closing: Closing

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskClose:
        given = {"code": member(said, "code"), "reason": member(said, "reason")}
        try:
            closing = Closing.of(json.dumps(given).encode())
        except WrongError:
            raise MalformedError("that cannot be sent") from None
        return cls(a_number(member(said, "connection"), "connection"), closing)

    def as_json(self) -> dict[str, Any]:
        code, reason = int(self.closing.code), self.closing.reason
        return {"connection": self.connection, "code": code, "reason": reason}

    def answer_of(self, said: Mapping[str, Any]) -> bool:
        return a_switch(member(said, "closed"), "closed")


@attrs.frozen
class AskSend:
    """Send a connection a message: what became of it, as `admin.people.send` has it; None: there
    is no such connection."""

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
            raise MalformedError("its message is none") from None
        return cls(a_number(member(said, "connection"), "connection"), payload, is_binary)

    def as_json(self) -> dict[str, Any]:
        data = base64.b64encode(self.payload).decode()
        return {"connection": self.connection, "data64": data, "binary": self.is_binary}

    def answer_of(self, said: Mapping[str, Any]) -> str | None:
        outcome = member(said, "outcome")
        if outcome not in _OUTCOMES:
            raise MalformedError("there is no such outcome")
        return None if outcome is None else str(outcome)


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
    """A question as it came. `question` is None where it is not understood; `wrong` tells why."""

    sender: str
    id: str
    question: Question[Any] | None
    wrong: str = ""


@attrs.frozen
class Answered:
    """An answer as it came. `said` is None where the question was not understood."""

    sender: str
    id: str
    said: Mapping[str, Any] | None


def asked(sender: str, id_: str, question: Question[Any]) -> bytes:
    """A question, as it goes out."""
    return _message(sender, ask=question.ask, id=id_, **question.as_json())


def answered(sender: str, id_: str, said: Mapping[str, Any]) -> bytes:
    """An answer, as it goes out."""
    return _message(sender, answer=id_, said=said)


def not_understood(sender: str, id_: str, wrong: str) -> bytes:
    """The answer to what is no question."""
    return _message(sender, answer=id_, wrong=wrong)


def _message(sender: str, **said: Any) -> bytes:
    return json.dumps({"v": VERSION, "from": sender, **said}, separators=(",", ":")).encode()


def read(octets: bytes, most: int) -> Asked | Answered:
    """What came, in at most so many octets. Raises `MalformedError`."""
    said = parsed(octets, most)
    sender = member(said, "from")
    if not is_node(sender):
        raise MalformedError("from is no node")
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
    """As many rows as an answer may have, at least one, and whether there are more."""
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


def _channel(said: Mapping[str, Any], name: str) -> str | None:
    value = member(said, name)
    return None if value is None else a_text(value, name, LONGEST_NAME)


def _with_some(more: bool, rows: tuple[Any, ...]) -> bool:
    if more and not rows:
        raise MalformedError("there is more, behind nothing")
    return more


def _size(value: object) -> tuple[str, int]:
    pair = a_list(value, "a channel", 2)
    if len(pair) != 2:
        raise MalformedError("a channel is no pair")
    return a_text(pair[0], "a channel's name", LONGEST_NAME), a_number(pair[1], "a count", 1)


def _row(value: object) -> dict[str, Any]:
    """A connection, as `listing` shows it."""
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
