"""Which answer a request to the admin face gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol

from .. import page
from ..channels import channel_of
from .access import Access
from .exchange import MOST_OF_BODY, Answer, Asked, Stream, answer, as_json, problem
from .figures import CONTENT_TYPE, Figures
from .listing import Closing, Wanted, WrongError, find, list_of
from .presence import Part, channels, members
from .publishing import Delivery, Publishing, answered, send
from .tracing import MOST_TRACES, Traces

_READ = ("GET", "HEAD")
_ONE = re.compile(r"/connections/([0-9]{1,20})/(close|send|trace)", re.ASCII)
_PUBLISH = "/publish"
_CHANNELS = "/channels"
_NEVER_OPEN = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)


class Channels(Protocol):
    """What is asked of a hub."""

    def channels(self) -> list[tuple[str, int]]:
        """Each channel, and how many connections are on it."""

    def members(self, channel: str) -> Iterable[Any]:
        """The connections of one."""


_Handler = Callable[[Asked], Awaitable[Answer | Stream]]


class Routes:
    """Answers requests: judges them by `access`, and finds what they are for.

    `connections` gives all connections of now, `reasons` why the service is not ready.
    A message may have `most` octets.
    """

    def __init__(
        self,
        access: Access,
        connections: Callable[[], Iterable[Any]],
        reasons: Callable[[], list[str]],
        figures: Figures,
        traces: Traces,
        hub: Channels,
        publishing: Publishing,
        most: int,
    ) -> None:
        self.access = access
        self._connections = connections
        self._reasons = reasons
        self._figures = figures
        self._traces = traces
        self._hub = hub
        self._publishing = publishing
        #: Octets that a message may have.
        self.most = most
        self._paths: dict[str, _Handler] = {
            "/": self._page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/connections": self._list,
            _CHANNELS: self._list_channels,
        }

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
            return self._one(asked, one.group(1), one.group(2))
        except WrongError as error:
            return problem(400, str(error))

    async def _several(self, asked: Asked) -> Answer | Stream:
        handler = self._paths.get(asked.path)
        if handler is None and asked.path.startswith(_CHANNELS + "/"):
            handler = self._list_members
        if handler is None:
            return problem(404, "there is no such thing")
        return _not_allowed(asked, *_READ) or await handler(asked)

    def _one(self, asked: Asked, id_: str, what: str) -> Answer | Stream:
        allowed = ("GET",) if what == "trace" else ("POST",)
        if (refusal := _not_allowed(asked, *allowed)) is not None:
            return refusal
        closing = Closing.of(asked.body) if what == "close" else None
        connection = find(self._connections(), id_)
        if connection is None:
            return problem(404, f"there is no connection {id_}")
        if closing is not None:
            connection.close_for_operator(closing.code, closing.reason)
            return as_json(202, {"closing": id_})
        if connection.state in _NEVER_OPEN:
            return problem(409, f"connection {id_} is not open yet")
        if what == "send":
            return self._send(connection, asked)
        trace = self._traces.trace(connection)
        if trace is None:
            return problem(503, f"{MOST_TRACES} traces are going on; end one of them")
        return trace

    def _send(self, connection: Any, asked: Asked) -> Answer:
        if connection.state != WebSocketProtocol.STATE_OPEN:
            return problem(409, f"connection {connection.id} is closing")
        handed = send(connection, asked)
        return answered(Delivery(int(handed), int(not handed)))

    async def _publish(self, asked: Asked) -> Answer:
        if (refusal := _not_allowed(asked, "POST")) is not None:
            return refusal
        if asked.path == _PUBLISH:
            return await self._publishing.many(asked)
        return await self._publishing.one(asked, asked.path.removeprefix(_PUBLISH))

    async def _list_channels(self, asked: Asked) -> Answer:
        return as_json(200, channels(self._hub.channels(), Part.of(asked.query)))

    async def _list_members(self, asked: Asked) -> Answer:
        channel = channel_of(asked.path.removeprefix(_CHANNELS))
        wanted = Wanted.of(asked.query)
        return as_json(200, members(channel, self._hub.members(channel), wanted))

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
        return as_json(200, list_of(self._connections(), Wanted.of(asked.query)))


def _not_allowed(asked: Asked, *methods: str) -> Answer | None:
    if asked.method in methods:
        return None
    allowed = ", ".join(methods)
    return problem(405, f"the method is not allowed; use {allowed}", ("Allow", allowed))
