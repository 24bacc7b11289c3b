"""The connections of a service, as the face needs them: listed, closed, traced, spoken to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol

from .exchange import Answer, Stream, problem
from .listing import Closing, Wanted, find, list_of
from .presence import Part, channels, members
from .publishing import Delivery, answered
from .tracing import MOST_TRACES, Traces

_NEVER_OPEN = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)


class UnansweredError(Exception):
    """Another node was needed, and did not answer; the text says which, and what is known.

    `status` is that of the answer: 503 where it was surely not done, else 504.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class People(Protocol):
    """Where they may be, in this process or in others.

    What is for one of them raises `UnansweredError` where it is on another node that does
    not answer.
    """

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """A part of the list, as its JSON has it."""

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close one; False where there is none with that id."""

    async def trace(self, id_: str) -> Stream | Answer:
        """One's frames as they happen, or why not."""

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> str | None:
        """Send a message to one: what became of it, as `send` has it; None: there is none."""

    async def channels(self, part: Part) -> dict[str, Any]:
        """A part of the channels, as its JSON has it."""

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """Who is on a channel, as its JSON has it."""


class Channels(Protocol):
    """What is asked of a hub."""

    def channels(self) -> list[tuple[str, int]]:
        """Each channel, and how many connections are on it."""

    def members(self, channel: str) -> Iterable[Any]:
        """The connections of one."""


class LocalPeople:
    """Those of this process, which `connections` gives, and `hub` by channel."""

    def __init__(
        self, connections: Callable[[], Iterable[Any]], hub: Channels, traces: Traces
    ) -> None:
        self._connections = connections
        self._hub = hub
        self._traces = traces

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it."""
        return list_of(self._connections(), wanted)

    async def close(self, id_: str, closing: Closing) -> bool:
        """As `People` has it."""
        connection = find(self._connections(), id_)
        if connection is not None:
            connection.close_for_operator(closing.code, closing.reason)
        return connection is not None

    async def trace(self, id_: str) -> Stream | Answer:
        """As `People` has it."""
        connection = find(self._connections(), id_)
        if connection is None:
            return gone(id_)
        if is_opening(connection):
            return not_open(id_)
        return self._traces.trace(connection) or too_many()

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> str | None:
        """As `People` has it."""
        connection = find(self._connections(), id_)
        return None if connection is None else send(connection, payload, is_binary)

    async def channels(self, part: Part) -> dict[str, Any]:
        """As `People` has it."""
        return channels(self._hub.channels(), part)

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it."""
        return members(channel, self._hub.members(channel), wanted)


OPENING, CLOSING, HANDED, DROPPED = "opening", "closing", "handed", "dropped"
"""What becomes of a message to one connection."""


def send(connection: Any, payload: bytes, is_binary: bool) -> str:
    """Send a message on a connection: what became of it, of the four."""
    if is_opening(connection):
        return OPENING
    if connection.state != WebSocketProtocol.STATE_OPEN:
        return CLOSING
    return HANDED if connection.sendMessage(payload, is_binary) else DROPPED


def sent(id_: str, outcome: str | None) -> Answer:
    """The answer to who sent a message to one connection; None: there is none."""
    if outcome is None:
        return gone(id_)
    if outcome == OPENING:
        return not_open(id_)
    if outcome == CLOSING:
        return problem(409, f"connection {id_} is closing")
    return answered(Delivery(int(outcome == HANDED), int(outcome == DROPPED)))


def is_opening(connection: Any) -> bool:
    """Whether a connection has no frames yet."""
    return connection.state in _NEVER_OPEN


def gone(id_: str) -> Answer:
    """There is no such connection, or none any more."""
    return problem(404, f"there is no connection {id_}")


def not_open(id_: str) -> Answer:
    """There is nothing to trace yet."""
    return problem(409, f"connection {id_} is not open yet")


def too_many() -> Answer:
    """There are as many traces as there may be."""
    return problem(503, f"{MOST_TRACES} traces are going on; end one of them")
