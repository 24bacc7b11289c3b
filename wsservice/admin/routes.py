"""Route each request of the admin face to its answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from ..channels.page import HistoryPage, no_history
from ..channels.query import Position
from ..directory.ids import TEXT
from ..directory.listing import Wanted
from ..directory.outcomes import UnansweredError
from ..directory.people import People
from ..errors import HistoryAwayError
from ..server import page
from . import users
from .access import Access
from .answers import closed, sent, traced, unanswered
from .exchange import MOST_OF_BODY, AdminRequest, Answer, Stream, answer, as_json, problem
from .figures import CONTENT_TYPE, Figures
from .publishing import Publishing, channel_in, message_of
from .queries import (
    WrongError,
    channels_wanted,
    closing_in,
    connections_wanted,
    history_wanted,
    users_wanted,
)

_READ = ("GET", "HEAD")
_ONE = re.compile(rf"/connections/({TEXT})/(close|send|trace)", re.ASCII)
_PUBLISH = "/publish"
_CHANNELS = "/channels"
_HISTORY = "/history"

ReadHistory = Callable[[str, int, Position | None], Deferred[HistoryPage]]
"""Read a part of a channel's history: see `Hub.history`."""

_Handler = Callable[[AdminRequest], Awaitable[Answer | Stream]]


class ClusterView(Protocol):
    """The nodes of a cluster, including this one."""

    @property
    def people(self) -> People:
        """The connections of all nodes."""

    async def facts(self) -> dict[str, Any]:
        """Return the facts of all nodes, as the JSON of /cluster."""


class Routes:
    """Answer requests that `access` allows.

    `people` are the connections; `reasons` returns why the service is not ready. `most` is the most
    octets of a message.
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
        #: None for a node that is alone.
        self._cluster: ClusterView | None = None
        #: The most octets of a message.
        self.most = most
        #: None without a history.
        self.read_history: ReadHistory | None = None
        self._paths: dict[str, _Handler] = {
            "/": self._page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/connections": self._list,
            "/cluster": self._nodes,
            "/users": self._list_users,
            _CHANNELS: self._list_channels,
        }

    def join(self, cluster: ClusterView) -> None:
        """Answer for all nodes of a cluster."""
        self._cluster = cluster
        self._people = cluster.people

    def room_for(self, asked: AdminRequest) -> int | Answer:
        """Return the most octets of a request's body, before the body comes.

        Returns an answer to a request that is not allowed: a longer body is refused with it.
        """
        is_message = asked.path.startswith(_PUBLISH) or asked.path.endswith("/send")
        if not is_message:
            return MOST_OF_BODY
        return self.access.objection(asked) or max(self.most, MOST_OF_BODY)

    async def respond(self, asked: AdminRequest) -> Answer | Stream:
        """Return the answer to a request. Raises nothing that a request can cause."""
        if not asked.path.startswith("/"):
            return problem(400, "the request target is malformed; ask for a path such as /healthz")
        objection = self.access.objection(asked)
        if objection is not None:
            return objection
        one = _ONE.fullmatch(asked.path)
        try:
            if asked.path == _PUBLISH or asked.path.startswith(_PUBLISH + "/"):
                return await self._publish(asked)
            if (user := users.user_in(asked.path)) is not None:
                return await self._user(asked, *user)
            if one is None:
                return await self._several(asked)
            return await self._one(asked, one.group(1), one.group(2))
        except WrongError as error:
            return problem(400, str(error))
        except UnansweredError as error:
            return unanswered(error)

    async def _several(self, asked: AdminRequest) -> Answer | Stream:
        handler = self._paths.get(asked.path)
        if handler is None and asked.path.startswith(_CHANNELS + "/"):
            handler = self._list_members
        elif handler is None and asked.path.startswith(_HISTORY + "/"):
            handler = self._history
        if handler is None:
            return problem(404, "there is no such path")
        return _not_allowed(asked, *_READ) or await handler(asked)

    async def _one(self, asked: AdminRequest, id_: str, what: str) -> Answer | Stream:
        allowed = ("GET",) if what == "trace" else ("POST",)
        if (refusal := _not_allowed(asked, *allowed)) is not None:
            return refusal
        if what == "trace":
            return traced(id_, await self._people.trace(id_))
        if what == "send":
            return sent(id_, await self._people.send(id_, *message_of(asked)))
        return closed(id_, await self._people.close(id_, closing_in(asked.body)))

    async def _user(self, asked: AdminRequest, user: str, what: str) -> Answer:
        allowed = ("POST",) if what else _READ
        if (refusal := _not_allowed(asked, *allowed)) is not None:
            return refusal
        if what == "send":
            return users.sent(await self._people.send_user(user, *message_of(asked)))
        if what == "close":
            return users.closed(await self._people.close_user(user, closing_in(asked.body)))
        wanted = attrs.evolve(self._wanted(asked), user=user)
        return users.listed(user, await self._people.listed(wanted))

    async def _publish(self, asked: AdminRequest) -> Answer:
        if (refusal := _not_allowed(asked, "POST")) is not None:
            return refusal
        if asked.path == _PUBLISH:
            return await self._publishing.many(asked)
        return await self._publishing.one(asked, asked.path.removeprefix(_PUBLISH))

    async def _list_users(self, asked: AdminRequest) -> Answer:
        return as_json(200, await self._people.users(users_wanted(asked.query)))

    async def _list_channels(self, asked: AdminRequest) -> Answer:
        return as_json(200, await self._people.channels(channels_wanted(asked.query)))

    async def _list_members(self, asked: AdminRequest) -> Answer:
        channel = channel_in(asked.path.removeprefix(_CHANNELS))
        wanted = self._wanted(asked)
        return as_json(200, await self._people.members(channel, wanted))

    async def _history(self, asked: AdminRequest) -> Answer:
        channel = channel_in(asked.path.removeprefix(_HISTORY))
        limit, since = history_wanted(asked.query)
        if self.read_history is None:
            return problem(404, str(no_history()))
        try:
            page = await self.read_history(channel, limit, since)
        except HistoryAwayError as error:
            return problem(503, str(error), ("Retry-After", "1"))
        return as_json(200, page.as_json())

    async def _page(self, _asked: AdminRequest) -> Answer:
        served = page.load(page.ADMIN)
        return Answer(200, served.body, served.headers)

    async def _health(self, _asked: AdminRequest) -> Answer:
        return as_json(200, {"alive": True})

    async def _readiness(self, _asked: AdminRequest) -> Answer:
        reasons = self._reasons()
        return as_json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    async def _metrics(self, _asked: AdminRequest) -> Answer:
        return answer(200, await self._figures.text(), CONTENT_TYPE)

    async def _list(self, asked: AdminRequest) -> Answer:
        return as_json(200, await self._people.listed(self._wanted(asked, by_user=True)))

    def _wanted(self, asked: AdminRequest, by_user: bool = False) -> Wanted:
        return connections_wanted(asked.query, self._cluster is not None, by_user)

    async def _nodes(self, _asked: AdminRequest) -> Answer:
        if self._cluster is None:
            return problem(404, "there are no other nodes without --broker")
        return as_json(200, await self._cluster.facts())


def _not_allowed(asked: AdminRequest, *methods: str) -> Answer | None:
    if asked.method in methods:
        return None
    allowed = ", ".join(methods)
    return problem(405, f"the method is not allowed; use {allowed}", ("Allow", allowed))
