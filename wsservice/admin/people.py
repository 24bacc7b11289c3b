"""The connections of a service, as the face needs them: listed, closed, traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol

from .exchange import Answer, Stream, problem
from .listing import Closing, Wanted, find, list_of
from .tracing import MOST_TRACES, Traces

_NEVER_OPEN = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)


class People(Protocol):
    """Where they may be, in this process or in others."""

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """A part of the list, as its JSON has it."""

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close one; False where there is none with that id."""

    async def trace(self, id_: str) -> Stream | Answer:
        """One's frames as they happen, or why not."""


class LocalPeople:
    """Those of this process, which `connections` gives."""

    def __init__(self, connections: Callable[[], Iterable[Any]], traces: Traces) -> None:
        self._connections = connections
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
