"""The questions between nodes about users, and their answers, as JSON. PURE."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import attrs

from ..directory.listing import MOST, Closing
from ..directory.outcomes import UserReached
from .checking import MalformedError, a_list, a_number, a_switch, member
from .rows import (
    ChannelsPart,
    ConnectionCount,
    ListPart,
    closing_of,
    list_in,
    missing_of,
    user_id,
    user_in,
    with_some,
)


@attrs.frozen
class AskUserCount:
    """Ask for the number of connections of a user."""

    ask: ClassVar[str] = "user_count"

    user: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskUserCount:
        return cls(user_in(said, "user"))

    def as_json(self) -> dict[str, Any]:
        return {"user": self.user}

    def answer_of(self, said: Mapping[str, Any]) -> ConnectionCount:
        return ConnectionCount(a_number(member(said, "total"), "total"), missing_of(said))


@attrs.frozen
class AskUserList:
    """Ask for at most `limit` connections of a user, with numbers above `after`."""

    ask: ClassVar[str] = "user_list"

    user: str
    limit: int
    after: int

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskUserList:
        limit = a_number(member(said, "limit"), "limit", 1, MOST)
        return cls(user_in(said, "user"), limit, a_number(member(said, "after"), "after"))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ListPart:
        return list_in(said, self.limit, self.after)


@attrs.frozen
class AskUsers:
    """Ask for at most `limit` users, after the id `after`; None starts at the first."""

    ask: ClassVar[str] = "users"

    limit: int
    after: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskUsers:
        after = member(said, "after")
        limit = a_number(member(said, "limit"), "limit", 1, MOST)
        return cls(limit, None if after is None else user_id(after))

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def answer_of(self, said: Mapping[str, Any]) -> ChannelsPart:
        sizes = tuple(map(_size_of, a_list(member(said, "rows"), "rows", self.limit)))
        ids = [*([] if self.after is None else [self.after]), *(id_ for id_, _ in sizes)]
        if any(one >= other for one, other in pairwise(ids)):
            raise MalformedError("the users are not in order")
        more = a_switch(member(said, "more"), "more")
        total = a_number(member(said, "total"), "total", len(sizes))
        is_exact = a_switch(member(said, "exact"), "exact")
        return ChannelsPart(sizes, with_some(more, sizes), total, missing_of(said), is_exact)


def _size_of(value: object) -> tuple[str, int]:
    pair = a_list(value, "a user", 2)
    if len(pair) != 2:
        raise MalformedError("a user is not a pair")
    return user_id(pair[0]), a_number(pair[1], "a count", 1)


@attrs.frozen
class AskSendUser:
    """Ask to send a message to all connections of a user."""

    ask: ClassVar[str] = "send_user"

    user: str
    payload: bytes
    is_binary: bool

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskSendUser:
        return cls(user_in(said, "user"), *payload_in(said))

    def as_json(self) -> dict[str, Any]:
        return {"user": self.user, **payload_as_json(self.payload, self.is_binary)}

    def answer_of(self, said: Mapping[str, Any]) -> UserReached:
        return _reached_in(said)


@attrs.frozen
class AskCloseUser:
    """Ask to close all connections of a user."""

    ask: ClassVar[str] = "close_user"

    user: str
    closing: Closing

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> AskCloseUser:
        closing = closing_of(member(said, "code"), member(said, "reason"))
        return cls(user_in(said, "user"), closing)

    def as_json(self) -> dict[str, Any]:
        code, reason = int(self.closing.code), self.closing.reason
        return {"user": self.user, "code": code, "reason": reason}

    def answer_of(self, said: Mapping[str, Any]) -> UserReached:
        return _reached_in(said)


def _reached_in(said: Mapping[str, Any]) -> UserReached:
    handed = a_number(member(said, "handed"), "handed")
    return UserReached(handed, a_number(member(said, "dropped"), "dropped"), missing_of(said))


def payload_in(said: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Return the message in a question, and True if it is binary. Raises `MalformedError`."""
    data = member(said, "data64")
    is_binary = a_switch(member(said, "binary"), "binary")
    try:
        payload = base64.b64decode(data, validate=True)
        if not is_binary:
            payload.decode()
    except (TypeError, ValueError, binascii.Error):
        raise MalformedError("its message is malformed") from None
    return payload, is_binary


def payload_as_json(payload: bytes, is_binary: bool) -> dict[str, Any]:
    """Return a message as members of a question."""
    return {"data64": base64.b64encode(payload).decode(), "binary": is_binary}


KNOWN = {
    each.ask: each.of for each in (AskUserCount, AskUserList, AskUsers, AskSendUser, AskCloseUser)
}
"""The readers of these questions, by kind."""
