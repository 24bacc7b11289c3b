"""What others ask of this node, answered by what is known here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..admin import presence
from ..admin.listing import Wanted
from ..admin.people import People
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
    """Answers questions, out of `people` and `facts`."""

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
        """The answer to a question, as it is said."""
        return await self._answers[type(question)](question)

    async def _tell_facts(self, _question: AskFacts) -> Mapping[str, Any]:
        return (await self._facts()).as_json()

    async def _listed(self, channel: str | None, wanted: Wanted) -> Mapping[str, Any]:
        if channel is None:
            return await self._people.listed(wanted)
        return await self._people.members(channel, wanted)

    async def _count(self, question: AskCount) -> Mapping[str, Any]:
        return {"total": (await self._listed(question.channel, Wanted(1)))["total"]}

    async def _list(self, question: AskList) -> Mapping[str, Any]:
        listed = await self._listed(question.channel, Wanted(question.limit, question.after))
        rows, more = part_of(listed["connections"], listed["next"] is not None)
        return {"rows": rows, "more": more}

    async def _channels(self, question: AskChannels) -> Mapping[str, Any]:
        part = presence.Part(question.limit, question.after)
        listed = await self._people.channels(part)
        sizes = [[each["channel"], each["connections"]] for each in listed["channels"]]
        rows, more = part_of(sizes, listed["next"] is not None)
        return {"rows": rows, "more": more, "total": listed["total"]}

    async def _close(self, question: AskClose) -> Mapping[str, Any]:
        id_ = str(question.connection)
        return {"closed": await self._people.close(id_, question.closing)}

    async def _send(self, question: AskSend) -> Mapping[str, Any]:
        id_ = str(question.connection)
        return {"outcome": await self._people.send(id_, question.payload, question.is_binary)}
