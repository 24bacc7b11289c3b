"""The questions between nodes and their answers, as JSON. PURE.

A message is a JSON object in ASCII. A question has `ask`, the kind of question. An answer has
`answer`, the id of its question, and `said`, or `wrong` if the question was not understood. Both
have `from`, the sending node, and `v`, the version of this format. Other members are ignored: later
versions may add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeVar

import attrs

from ..directory.ids import is_node
from ..directory.listing import MOST, SHOWN, Closing
from ..directory.outcomes import SendOutcome
from . import user_questions
from .checking import (
    MalformedError,
    a_list,
    a_number,
    a_switch,
    a_text,
    an_object,
    member,
    parsed,
)
from .facts import Facts
from .rows import (
    ChannelsPart,
    ConnectionCount,
    ListPart,
    channel_of,
    closing_of,
    list_in,
    marks_in,
    missing_of,
    size_of,
    with_some,
)
from .user_questions import payload_as_json, payload_in

VERSION = 1

MOST_OF_ANSWER = 512 * 1024
"""The approximate octets of a part of a list; a longer one is cut."""

_ID = re.compile(r"[0-9a-f]{32}")

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """A question to a node."""

    ask: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Return its arguments."""

    def answer_of(self, said: Mapping[str, Any]) -> T_co:
        """Parse the answer. Raises `MalformedError`."""


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
    """Ask for the number of connections, or of those on a channel.

    With `users`, ask for the marks of their users too. Earlier versions leave that out.
    """

    ask: ClassVar[str] = "count"

    channel: str | None
    users: bool = False

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskCount:
        return cls(channel_of(said, "channel"), a_switch(said.get("users", False), "users"))

    def as_json(self) -> dict[str, Any]:
        return {"channel": self.channel, **({"users": True} if self.users else {})}

    def answer_of(self, said: Mapping[str, Any]) -> ConnectionCount:
        total = a_number(member(said, "total"), "total")
        return ConnectionCount(total, missing_of(said), marks_in(said))


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
        return cls(channel_of(said, "channel"), limit, a_number(member(said, "after"), "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ListPart:
        return list_in(said, self.limit, self.after)


@attrs.frozen
class AskChannels:
    """Ask for at most `limit` channels, after the name `after`; None starts at the first."""

    ask: ClassVar[str] = "channels"

    limit: int
    after: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskChannels:
        return cls(a_number(member(said, "limit"), "limit", 1, MOST), channel_of(said, "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ChannelsPart:
        rows = a_list(member(said, "rows"), "rows", self.limit)
        sizes = tuple(map(size_of, rows))
        names = [*([] if self.after is None else [self.after]), *(name for name, _ in sizes)]
        if any(one >= other for one, other in pairwise(names)):
            raise MalformedError("the channels are not in order")
        more = a_switch(member(said, "more"), "more")
        total = a_number(member(said, "total"), "total", len(sizes))
        # Nodes of an earlier version do not send this member.
        is_exact = a_switch(said.get("exact", True), "exact")
        return ChannelsPart(sizes, with_some(more, sizes), total, missing_of(said), is_exact)


@attrs.frozen
class AskClose:
    """Ask to close a connection. The answer tells whether it was there."""

    ask: ClassVar[str] = "close"

    connection: int
    closing: Closing

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskClose:
        closing = closing_of(member(said, "code"), member(said, "reason"))
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
        number = a_number(member(said, "connection"), "connection")
        return cls(number, *payload_in(said))

    def as_json(self) -> dict[str, Any]:
        payload = payload_as_json(self.payload, self.is_binary)
        return {"connection": self.connection, **payload}

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
    **user_questions.KNOWN,
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
