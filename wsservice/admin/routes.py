"""Route each request of the admin face to its answer."""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Sequence
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
from .actions import Actions, Reply
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
from .ticketing import Ticketing
from .tokens import Caller, Right

_READ = ("GET", "HEAD")
_POST = ("POST",)

ReadHistory = Callable[[str, int, Position | None], Deferred[HistoryPage]]
"""Read a part of a channel's history: see `Hub.history`."""

_Handler = Callable[..., Awaitable[Reply]]


class Open(enum.Enum):
    """The routes that need no right."""

    TO_ALL = "all"
    """No token is needed: `access.OPEN_TO_ALL` has the paths."""
    TO_TOKENS = "tokens"
    """Any token will do."""


@attrs.frozen
class Route:
    """The requests for some paths, which `handler` answers.

    `handler` is called with the request, and the groups of the path. `needs` is the right that a
    token needs. `is_long` is True if the body is a message.
    """

    path: re.Pattern[str]
    methods: tuple[str, ...]
    needs: Right | Open
    handler: _Handler
    is_long: bool = False


def _route(path: str, methods: tuple[str, ...], needs: Right | Open, handler: _Handler) -> Route:
    return Route(re.compile(path, re.ASCII | re.DOTALL), methods, needs, handler)


def _long(route: Route) -> Route:
    return attrs.evolve(route, is_long=True)


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
        #: None before `Face.take_tickets`.
        self.ticketing: Ticketing | None = None
        #: None for a node that is alone.
        self._cluster: ClusterView | None = None
        #: The most octets of a message.
        self.most = most
        #: None without a history.
        self.read_history: ReadHistory | None = None
        self.actions = Actions()
        one = rf"/connections/({TEXT})"
        #: The first route that matches a path answers.
        self.table: list[Route] = [
            _route("/", _READ, Open.TO_ALL, self._page),
            _route("/healthz", _READ, Open.TO_ALL, self._health),
            _route("/readyz", _READ, Open.TO_ALL, self._readiness),
            _route("/token", _READ, Open.TO_TOKENS, self._token),
            _route("/metrics", _READ, Right.READ, self._metrics),
            _route("/connections", _READ, Right.READ, self._list),
            _route("/cluster", _READ, Right.READ, self._nodes),
            _route("/users", _READ, Right.READ, self._list_users),
            _route("/users/([^/]*)", _READ, Right.READ, self._list_user),
            _route("/users/([^/]*)/close", _POST, Right.CLOSE, self._close_user),
            _long(_route("/users/([^/]*)/send", _POST, Right.PUBLISH, self._send_user)),
            _route("/channels", _READ, Right.READ, self._list_channels),
            _route("/channels(/.*)", _READ, Right.READ, self._list_members),
            _route("/history(/.*)", _READ, Right.READ, self._history),
            _route(one + "/trace", ("GET",), Right.READ, self._trace),
            _route(one + "/close", _POST, Right.CLOSE, self._close),
            _route("/tickets", _POST, Right.TICKETS, self._make_ticket),
            _long(_route(one + "/send", _POST, Right.PUBLISH, self._send)),
            _long(_route("/publish", _POST, Right.PUBLISH, self._publish_many)),
            _long(_route("/publish(/.*)", _POST, Right.PUBLISH, self._publish_one)),
        ]

    def join(self, cluster: ClusterView) -> None:
        """Answer for all nodes of a cluster."""
        self._cluster = cluster
        self._people = cluster.people

    def room_for(self, asked: AdminRequest) -> int | Answer:
        """Return the most octets of a request's body, before the body comes.

        Returns an answer to a request that is not allowed: a longer body is refused with it.
        """
        route, _ = self._found(asked)
        if route is None or not route.is_long:
            return MOST_OF_BODY
        admitted = self._admitted(asked, route)
        return admitted if isinstance(admitted, Answer) else max(self.most, MOST_OF_BODY)

    async def respond(self, asked: AdminRequest) -> Answer | Stream:
        """Return the answer to a request. Raises nothing that a request can cause."""
        if not asked.path.startswith("/"):
            return problem(400, "the request target is malformed; ask for a path such as /healthz")
        route, groups = self._found(asked)
        caller = self._admitted(asked, route)
        if isinstance(caller, Answer):
            return caller
        if route is None:
            return problem(404, "there is no such path")
        reply = await self._reply(asked, route, caller, groups)
        if isinstance(route.needs, Right):
            self.actions.took(caller, route.needs, asked, reply)
        return reply

    async def _reply(
        self, asked: AdminRequest, route: Route, caller: Caller, groups: Sequence[str]
    ) -> Reply:
        if route.needs is Open.TO_TOKENS:
            return await route.handler(asked, caller)
        try:
            return await route.handler(asked, *groups)
        except WrongError as error:
            return problem(400, str(error))
        except UnansweredError as error:
            return unanswered(error)

    def _found(self, asked: AdminRequest) -> tuple[Route | None, Sequence[str]]:
        for route in self.table:
            match = route.path.fullmatch(asked.path)
            if match is not None:
                return route, match.groups()
        return None, ()

    def _admitted(self, asked: AdminRequest, route: Route | None) -> Caller | Answer:
        """Return the caller of a request if it may ask it, or the answer that refuses it."""
        caller = self.access.judge(asked)
        if isinstance(caller, Answer) or route is None:
            return caller
        if (refusal := _not_allowed(asked, *route.methods)) is not None:
            return refusal
        right = route.needs
        if isinstance(right, Open) or right in caller.rights:
            return caller
        self.actions.refused(caller, right, asked)
        return problem(
            403,
            f"the token {caller.name} has no right to {right.value};"
            " give one that --admin-token-file lets do that",
        )

    async def _token(self, _asked: AdminRequest, caller: Caller) -> Answer:
        rights = [each.value for each in Right if each in caller.rights]
        return as_json(200, {"name": caller.name or None, "rights": rights})

    async def _trace(self, _asked: AdminRequest, id_: str) -> Reply:
        return traced(id_, await self._people.trace(id_))

    async def _send(self, asked: AdminRequest, id_: str) -> Answer:
        return sent(id_, await self._people.send(id_, *message_of(asked)))

    async def _close(self, asked: AdminRequest, id_: str) -> Answer:
        return closed(id_, await self._people.close(id_, closing_in(asked.body)))

    async def _make_ticket(self, asked: AdminRequest) -> Answer:
        if self.ticketing is None:
            return problem(404, "there is no such path")
        return await self.ticketing.make(asked.body)

    async def _publish_many(self, asked: AdminRequest) -> Answer:
        return await self._publishing.many(asked)

    async def _publish_one(self, asked: AdminRequest, path: str) -> Answer:
        return await self._publishing.one(asked, path)

    async def _list_user(self, asked: AdminRequest, id_: str) -> Answer:
        user = users.named(id_)
        wanted = attrs.evolve(self._wanted(asked), user=user)
        return users.listed(user, await self._people.listed(wanted))

    async def _close_user(self, asked: AdminRequest, id_: str) -> Answer:
        user = users.named(id_)
        return users.closed(await self._people.close_user(user, closing_in(asked.body)))

    async def _send_user(self, asked: AdminRequest, id_: str) -> Answer:
        user = users.named(id_)
        return users.sent(await self._people.send_user(user, *message_of(asked)))

    async def _list_users(self, asked: AdminRequest) -> Answer:
        return as_json(200, await self._people.users(users_wanted(asked.query)))

    async def _list_channels(self, asked: AdminRequest) -> Answer:
        return as_json(200, await self._people.channels(channels_wanted(asked.query)))

    async def _list_members(self, asked: AdminRequest, path: str) -> Answer:
        channel = channel_in(path)
        wanted = self._wanted(asked)
        return as_json(200, await self._people.members(channel, wanted))

    async def _history(self, asked: AdminRequest, path: str) -> Answer:
        channel = channel_in(path)
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
