"""Answer the questions of other nodes from what this node knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..directory import presence
from ..directory.listing import Wanted
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
        listed = await self._listed(question.channel, Wanted(0))
        return {"total": listed["total"], **_missing(listed)}

    async def _list(self, question: AskList) -> Mapping[str, Any]:
        listed = await self._listed(question.channel, Wanted(question.limit, question.after))
        rows, more = part_of(listed["connections"], listed["next"] is not None)
        return {"rows": rows, "more": more, **_missing(listed)}

    async def _channels(self, question: AskChannels) -> Mapping[str, Any]:
        part = presence.ChannelsWanted(question.limit, question.after)
        listed = await self._people.channels(part)
        sizes = [[each["channel"], each["connections"]] for each in listed["channels"]]
        rows, more = part_of(sizes, listed["next"] is not None)
        said = {"rows": rows, "more": more, "total": listed["total"], **_missing(listed)}
        if said["total"] is None:
            said |= {"total": listed["at_most"], "exact": False}
        return said

    async def _close(self, question: AskClose) -> Mapping[str, Any]:
        id_ = str(question.connection)
        return {"closed": await self._people.close(id_, question.closing)}

    async def _send(self, question: AskSend) -> Mapping[str, Any]:
        id_ = str(question.connection)
        outcome = await self._people.send(id_, question.payload, question.is_binary)
        return {"outcome": outcome.value}


def _missing(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `missing` if the list names workers that did not answer; else nothing."""
    return {"missing": listed["missing"]} if listed.get("missing") else {}
