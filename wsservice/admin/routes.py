"""Which answer a request to the admin face gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from .. import page
from ..channels import channel_of
from .access import Access
from .exchange import MOST_OF_BODY, Answer, Asked, Stream, answer, as_json, problem
from .figures import CONTENT_TYPE, Figures
from .ids import TEXT
from .listing import Closing, Wanted, WrongError
from .people import People, UnansweredError, gone, sent
from .presence import Part
from .publishing import Publishing, message_of

_READ = ("GET", "HEAD")
_ONE = re.compile(rf"/connections/({TEXT})/(close|send|trace)", re.ASCII)
_PUBLISH = "/publish"
_CHANNELS = "/channels"

_Handler = Callable[[Asked], Awaitable[Answer | Stream]]


class Cluster(Protocol):
    """All nodes that this one is among."""

    @property
    def people(self) -> People:
        """The connections of all of them."""

    async def facts(self) -> dict[str, Any]:
        """What each of them is and does, as its JSON has it."""


class Routes:
    """Answers requests: judges them by `access`, and finds what they are for.

    `people` are the connections, `reasons` gives why the service is not ready.
    A message may have `most` octets.
    """

    def __init__(
        self,
        access: Access,
        people: People,
        reasons: Callable[[], list[str]],
        figures: Figures,
        publishing: Publishing,
        most: int,
    ) -> None:
        self.access = access
        self._people = people
        self._reasons = reasons
        self._figures = figures
        self._publishing = publishing
        #: None where this node is alone.
        self._cluster: Cluster | None = None
        #: Octets that a message may have.
        self.most = most
        self._paths: dict[str, _Handler] = {
            "/": self._page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/connections": self._list,
            "/cluster": self._nodes,
            _CHANNELS: self._list_channels,
        }

    def join(self, cluster: Cluster) -> None:
        """Answer for all nodes of a cluster, where nodes have a say in it."""
        self._cluster = cluster
        self._people = cluster.people

    def room_for(self, asked: Asked) -> int | Answer:
        """How many octets the body of a request may have, which did not come yet.

        Or what whoever sends more than a few is answered, where they may not ask at all.
        """
        is_message = asked.path.startswith(_PUBLISH) or asked.path.endswith("/send")
        if not is_message:
            return MOST_OF_BODY
        return self.access.objection(asked) or max(self.most, MOST_OF_BODY)

    async def respond(self, asked: Asked) -> Answer | Stream:
        """The answer to a request. Raises nothing that a request can cause."""
        if not asked.target.startswith("/"):
            return problem(400, "a target is needed that is a path")
        objection = self.access.objection(asked)
        if objection is not None:
            return objection
        one = _ONE.fullmatch(asked.path)
        try:
            if asked.path == _PUBLISH or asked.path.startswith(_PUBLISH + "/"):
                return await self._publish(asked)
            if one is None:
                return await self._several(asked)
            return await self._one(asked, one.group(1), one.group(2))
        except WrongError as error:
            return problem(400, str(error))
        except UnansweredError as error:
            return problem(error.status, str(error))

    async def _several(self, asked: Asked) -> Answer | Stream:
        handler = self._paths.get(asked.path)
        if handler is None and asked.path.startswith(_CHANNELS + "/"):
            handler = self._list_members
        if handler is None:
            return problem(404, "there is no such thing")
        return _not_allowed(asked, *_READ) or await handler(asked)

    async def _one(self, asked: Asked, id_: str, what: str) -> Answer | Stream:
        allowed = ("GET",) if what == "trace" else ("POST",)
        if (refusal := _not_allowed(asked, *allowed)) is not None:
            return refusal
        if what == "trace":
            return await self._people.trace(id_)
        if what == "send":
            return sent(id_, await self._people.send(id_, *message_of(asked)))
        closing = Closing.of(asked.body)
        if not await self._people.close(id_, closing):
            return gone(id_)
        return as_json(202, {"closing": id_})

    async def _publish(self, asked: Asked) -> Answer:
        if (refusal := _not_allowed(asked, "POST")) is not None:
            return refusal
        if asked.path == _PUBLISH:
            return await self._publishing.many(asked)
        return await self._publishing.one(asked, asked.path.removeprefix(_PUBLISH))

    async def _list_channels(self, asked: Asked) -> Answer:
        return as_json(200, await self._people.channels(Part.of(asked.query)))

    async def _list_members(self, asked: Asked) -> Answer:
        channel = channel_of(asked.path.removeprefix(_CHANNELS))
        wanted = self._wanted(asked)
        return as_json(200, await self._people.members(channel, wanted))

    async def _page(self, _asked: Asked) -> Answer:
        served = page.load(page.ADMIN)
        return Answer(200, served.body, served.headers)

    async def _health(self, _asked: Asked) -> Answer:
        return as_json(200, {"alive": True})

    async def _readiness(self, _asked: Asked) -> Answer:
        reasons = self._reasons()
        return as_json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    async def _metrics(self, _asked: Asked) -> Answer:
        return answer(200, await self._figures.text(), CONTENT_TYPE)

    async def _list(self, asked: Asked) -> Answer:
        return as_json(200, await self._people.listed(self._wanted(asked)))

    def _wanted(self, asked: Asked) -> Wanted:
        return Wanted.of(asked.query, several=self._cluster is not None)

    async def _nodes(self, _asked: Asked) -> Answer:
        if self._cluster is None:
            return problem(404, "there are no other nodes without --broker")
        return as_json(200, await self._cluster.facts())


def _not_allowed(asked: Asked, *methods: str) -> Answer | None:
    if asked.method in methods:
        return None
    allowed = ", ".join(methods)
    return problem(405, f"the method is not allowed; use {allowed}", ("Allow", allowed))
