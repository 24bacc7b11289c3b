"""List, close, trace and address the connections of a service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol

from ..channels.outcome import Published
from ..channels.presence import Presence
from .listing import Closing, Wanted, find, list_of
from .outcomes import SendOutcome, TracedElsewhere, TraceRefusal, UserReached
from .presence import ChannelsWanted, channels, listed_of, members, users
from .tracing import Traces, TraceStream

_NEVER_OPEN = (WebSocketProtocol.STATE_CONNECTING, WebSocketProtocol.STATE_PROXY_CONNECTING)

TraceOutcome = TraceStream | TraceRefusal | TracedElsewhere
"""The outcome of a request for a trace: the trace, or the reason why there is none."""


class People(Protocol):
    """The connections of a service, in this process or in others.

    A method for one connection raises `UnansweredError` if the connection is in a worker or on
    another node that does not answer. In a list, `missing` names those that did not answer.
    """

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the list of connections, as JSON."""

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close a connection. Return False if no connection has that id."""

    async def trace(self, id_: str) -> TraceOutcome:
        """Return a new trace of a connection, or the reason why there is none."""

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> SendOutcome:
        """Send a message to a connection."""

    async def channels(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the channels, as JSON."""

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the connections on a channel, as JSON."""

    async def present(self, channel: str) -> Presence:
        """Return how many connections are on a channel, and how many users they have."""

    async def users(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the users, as JSON."""

    async def send_user(self, user: str, payload: bytes, is_binary: bool) -> UserReached:
        """Send a message to all connections of a user."""

    async def close_user(self, user: str, closing: Closing) -> UserReached:
        """Close all connections of a user."""


class ChannelSource(Protocol):
    """The channels and users of a hub."""

    def local_presence(self, channel: str, limit: int) -> Presence:
        """Return the people on a channel in this process."""

    def users(self) -> Collection[str]:
        """Return the ids of all users."""

    def user_count(self, user: str) -> int:
        """Return the number of connections of a user in this process."""

    def user_members(self, user: str) -> Iterable[Any]:
        """Return the connections of a user in this process."""

    def send_local(self, user: str, payload: bytes, isBinary: bool) -> Published:
        """Send a message to the connections of a user in this process."""

    def channels(self) -> list[str]:
        """Return the names of all channels."""

    def local_count(self, channel: str) -> int:
        """Return the number of connections of this process on a channel."""

    def local_members(self, channel: str) -> Iterable[Any]:
        """Return the connections of this process on a channel."""


class LocalPeople:
    """The connections of this process: all by `connections`, and those of a channel by `hub`."""

    def __init__(
        self, connections: Callable[[], Iterable[Any]], hub: ChannelSource, traces: Traces
    ) -> None:
        self._connections = connections
        self._hub = hub
        self._traces = traces

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the list of connections, as JSON."""
        return listed(self._connections, self._hub, wanted)

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close a connection. Return False if no connection has that id."""
        connection = find(self._connections(), id_)
        if connection is not None:
            connection.close_for_operator(closing.code, closing.reason)
        return connection is not None

    async def trace(self, id_: str) -> TraceOutcome:
        """Return a new trace of a connection, or the reason why there is none."""
        connection = find(self._connections(), id_)
        if connection is None:
            return TraceRefusal.GONE
        if is_opening(connection):
            return TraceRefusal.OPENING
        return self._traces.trace(connection) or TraceRefusal.TOO_MANY

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> SendOutcome:
        """Send a message to a connection."""
        return send(find(self._connections(), id_), payload, is_binary)

    async def channels(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the channels, as JSON."""
        return channels(self._hub.channels(), self._hub.local_count, part)

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the connections on a channel, as JSON."""
        return members(channel, self._hub.local_members(channel), wanted)

    async def present(self, channel: str) -> Presence:
        """Return how many connections are on a channel, and how many users they have."""
        return self._hub.local_presence(channel, 0)

    async def users(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the users, as JSON."""
        return users(self._hub.users(), self._hub.user_count, part)

    async def send_user(self, user: str, payload: bytes, is_binary: bool) -> UserReached:
        """Send a message to all connections of a user."""
        return send_user(self._hub, user, payload, is_binary)

    async def close_user(self, user: str, closing: Closing) -> UserReached:
        """Close all connections of a user."""
        return close_user(self._hub, user, closing)


def listed(
    connections: Callable[[], Iterable[Any]], hub: ChannelSource, wanted: Wanted
) -> dict[str, Any]:
    """Return a part of the list of connections as JSON, or of those of one user.

    `connections` returns all in the order of ids. It is not called for one user, since the hub
    finds those at once.
    """
    if wanted.user is None:
        return list_of(connections(), wanted)
    return listed_of(hub.user_members(wanted.user), wanted)


def send_user(hub: ChannelSource, user: str, payload: bytes, is_binary: bool) -> UserReached:
    """Send a message to the connections of a user in this process."""
    said = hub.send_local(user, payload, is_binary)
    return UserReached(said.handed, said.dropped)


def close_user(hub: ChannelSource, user: str, closing: Closing) -> UserReached:
    """Close the connections of a user in this process."""
    is_open = WebSocketProtocol.STATE_OPEN
    there = [each for each in hub.user_members(user) if each.state == is_open]
    for each in there:
        each.close_for_operator(closing.code, closing.reason)
    return UserReached(len(there))


def send(connection: Any, payload: bytes, is_binary: bool) -> SendOutcome:
    """Send a message on a connection; None is one that is gone."""
    if connection is None:
        return SendOutcome.GONE
    if is_opening(connection):
        return SendOutcome.OPENING
    if connection.state != WebSocketProtocol.STATE_OPEN:
        return SendOutcome.CLOSING
    is_handed = connection.sendMessage(payload, is_binary)
    return SendOutcome.HANDED if is_handed else SendOutcome.DROPPED


def is_opening(connection: Any) -> bool:
    """Return True while the opening handshake of a connection is not done."""
    return connection.state in _NEVER_OPEN
