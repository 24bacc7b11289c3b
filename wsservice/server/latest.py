"""Decide how many past messages a client gets before new ones. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from ..auth.action import Action
from ..auth.permissions import Permissions
from ..channels.query import ChannelQuery, Latest

_P = TypeVar("_P")


class Joining(Protocol):
    """A connection that joins its channels."""

    factory: Any

    @property
    def permissions(self) -> Permissions:
        """Its permissions on channels."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it is on."""


def most_allowed(connection: Joining, channel: str) -> int:
    """Return how many of the last messages of a channel a connection may ask for, 0 for none."""
    if not connection.permissions.may(Action.HISTORY, channel):
        return 0
    most: int = connection.factory.hub.keep(channel).size
    return most


def last_of(connection: Joining, asked: ChannelQuery) -> Mapping[str, Latest | None]:
    """Return the messages that a connection gets first of each channel; None for no message.

    They are as many as the query asks for, and no more than `most_allowed`.
    """
    counts = {
        channel: min(asked.history, most_allowed(connection, channel))
        for channel in connection.channels
    }
    return {channel: Latest(count) if count else None for channel, count in counts.items()}


def of_kept(connection: Joining, first: Mapping[str, _P]) -> Mapping[str, _P]:
    """Return the part of `first`, by channel, of which the history keeps messages.

    On the other channels, the connection is not behind any more.
    """
    hub = connection.factory.hub
    for channel in first:
        if not hub.keep(channel).size:
            hub.catch_up(connection, channel)
    return {channel: each for channel, each in first.items() if hub.keep(channel).size}
