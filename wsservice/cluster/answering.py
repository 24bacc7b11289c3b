"""Answer the questions of other nodes from what this node knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..channels.presence import Presence
from ..directory import presence
from ..directory.listing import Wanted
from ..directory.outcomes import UserReached
from ..directory.people import People
from .facts import Facts
from .questions import (
    AskChannels,
    AskClose,
    AskCount,
    AskFacts,
    AskList,
    AskSend,
    Question,
    part_of,
)
from .user_questions import AskCloseUser, AskSendUser, AskUserCount, AskUserList, AskUsers


class Answering:
    """Answer questions of other nodes from `people` and `facts`."""

    def __init__(self, people: People, facts: Callable[[], Awaitable[Facts]]) -> None:
        self._people = people
        self._facts = facts
        self._answers: dict[type, Callable[[Any], Awaitable[Mapping[str, Any]]]] = {
            AskFacts: self._tell_facts,
            AskCount: self._count,
            AskList: self._list,
            AskChannels: self._channels,
            AskClose: self._close,
            AskSend: self._send,
            AskUserCount: self._count_of_user,
            AskUserList: self._list_of_user,
            AskUsers: self._users,
            AskSendUser: self._send_user,
            AskCloseUser: self._close_user,
        }

    async def answer(self, question: Question[Any]) -> Mapping[str, Any]:
        """Return the answer to a question, as JSON.

        Raises `UnansweredError` if a worker is late.
        """
        return await self._answers[type(question)](question)

    async def _tell_facts(self, _question: AskFacts) -> Mapping[str, Any]:
        return (await self._facts()).as_json()

    async def _listed(self, channel: str | None, wanted: Wanted) -> Mapping[str, Any]:
        if channel is None:
            return await self._people.listed(wanted)
        return await self._people.members(channel, wanted)

    async def _count(self, question: AskCount) -> Mapping[str, Any]:
        if question.users and question.channel is not None:
            return _with_marks(await self._people.present(question.channel))
        listed = await self._listed(question.channel, Wanted(0))
        return {"total": listed["total"], **_missing(listed)}

    async def _list(self, question: AskList) -> Mapping[str, Any]:
        wanted = Wanted(question.limit, question.after)
        return _rows(await self._listed(question.channel, wanted))

    async def _channels(self, question: AskChannels) -> Mapping[str, Any]:
        part = presence.ChannelsWanted(question.limit, question.after)
        said = _sizes(await self._people.channels(part), "channels", "channel")
        if said["exact"]:
            del said["exact"]  # as earlier versions say it
        return said

    async def _count_of_user(self, question: AskUserCount) -> Mapping[str, Any]:
        listed = await self._people.listed(Wanted(0, user=question.user))
        return {"total": listed["total"], **_missing(listed)}

    async def _list_of_user(self, question: AskUserList) -> Mapping[str, Any]:
        wanted = Wanted(question.limit, question.after, user=question.user)
        return _rows(await self._people.listed(wanted))

    async def _users(self, question: AskUsers) -> Mapping[str, Any]:
        part = presence.ChannelsWanted(question.limit, question.after)
        return _sizes(await self._people.users(part), "users", "id")

    async def _send_user(self, question: AskSendUser) -> Mapping[str, Any]:
        return _reached(
            await self._people.send_user(question.user, question.payload, question.is_binary)
        )

    async def _close_user(self, question: AskCloseUser) -> Mapping[str, Any]:
        return _reached(await self._people.close_user(question.user, question.closing))

    async def _close(self, question: AskClose) -> Mapping[str, Any]:
        id_ = str(question.connection)
        return {"closed": await self._people.close(id_, question.closing)}

    async def _send(self, question: AskSend) -> Mapping[str, Any]:
        id_ = str(question.connection)
        outcome = await self._people.send(id_, question.payload, question.is_binary)
        return {"outcome": outcome.value}


def _rows(listed: Mapping[str, Any]) -> dict[str, Any]:
    rows, more = part_of(listed["connections"], listed["next"] is not None)
    return {"rows": rows, "more": more, **_missing(listed)}


def _sizes(listed: Mapping[str, Any], rows: str, name: str) -> dict[str, Any]:
    """Return the answer with some channels or users, whose `rows` have a `name`."""
    sizes = [[each[name], each["connections"]] for each in listed[rows]]
    shown, more = part_of(sizes, listed["next"] is not None)
    total = listed["total"]
    return {
        "rows": shown,
        "more": more,
        "total": listed["at_most"] if total is None else total,
        "exact": total is not None,
        **_missing(listed),
    }


def _with_marks(here: Presence) -> dict[str, Any]:
    said: dict[str, Any] = {"total": here.count}
    if here.marks:
        said["marks"] = list(here.marks)
    if here.missing:
        said["missing"] = list(here.missing)
    return said


def _reached(reached: UserReached) -> dict[str, Any]:
    said: dict[str, Any] = {"handed": reached.handed, "dropped": reached.dropped}
    return {**said, "missing": list(reached.missing)} if reached.missing else said


def _missing(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `missing` if the list names workers that did not answer; else nothing."""
    return {"missing": listed["missing"]} if listed.get("missing") else {}
