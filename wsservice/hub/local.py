"""The hub of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ..counting import Histogram
from ..sending import SENT, PreparedMessage


class Member(Protocol):
    """What the hub needs of a connection."""

    channel: str

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> object:
        """Send one message; what it returns is true if the connection took it."""

    def go_away(self) -> None:
        """Say goodbye because the service stops."""


class LocalHub:
    """The connections of this process, and those of them that are open, by channel.

    A connection is in the hub from its first octet to its last: `arrive`, then,
    once its handshake is done, `join` the channel it is on, and `leave`. The
    hub's own count therefore holds whatever a behaviour's callbacks raise. One
    that is over but for the peer's end of it may `settle` before it leaves.
    `seconds` is a clock that nobody sets.
    """

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        #: From a message's being published to its being handed to the last connection.
        self.publishing = Histogram()
        # Each with the channel that it joined, whatever its own has become since.
        self._members: dict[Member, str | None] = {}
        # In the order of their coming, which is how they lie in memory.
        self._channels: dict[str, dict[Member, None]] = {}
        self._unsettled: set[Member] = set()
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        """All connections of now, as they came; safe against those that leave meanwhile."""
        return iter(tuple(self._members))

    def channel_sizes(self) -> list[int]:
        """How many open connections each channel has that has any."""
        return [len(members) for members in self._channels.values()]

    def channels(self) -> list[tuple[str, int]]:
        """Each channel that has open connections, and how many, in no order."""
        return [(name, len(members)) for name, members in self._channels.items()]

    def members(self, channel: str) -> tuple[Member, ...]:
        """The open connections of a channel, as they came to it."""
        return tuple(self._channels.get(channel, ()))

    def arrive(self, member: Member) -> None:
        """A connection was accepted."""
        self._members[member] = None
        self._unsettled.add(member)

    def join(self, member: Member) -> None:
        """A connection is open, and gets what is published on its channel."""
        self._members[member] = member.channel
        self._channels.setdefault(member.channel, {})[member] = None

    @property
    def unsettled(self) -> int:
        """How many connections there are that still owe, or are owed, something."""
        return len(self._unsettled)

    def settle(self, member: Member) -> None:
        """All that a connection will ever send has left: nobody need wait for it any more."""
        self._unsettled.discard(member)
        if not self._unsettled:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def leave(self, member: Member) -> None:
        """A connection is over. Once is enough, more does no harm."""
        name = self._members.pop(member, None)
        if name is not None:
            self._channels[name].pop(member, None)
            if not self._channels[name]:
                del self._channels[name]
        self.settle(member)

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel.

        Returns to how many it was handed.
        """
        began = self._seconds()
        members = tuple(self._channels.get(channel, ()))
        message = PreparedMessage(payload, isBinary)
        outcomes = [member.sendPreparedMessage(message) for member in members]
        self.publishing.observe(self._seconds() - began)
        # Whether an outcome is true is asked in Python: not where it is the usual one.
        return sum([1 for each in outcomes if each is SENT or each])

    def when_settled(self) -> Deferred[None]:
        """Fires once all connections have left or settled; cancel it to stop waiting."""
        if not self._unsettled:
            return succeed(None)

        def forget(waiting: Deferred[None]) -> None:
            self._waiting.remove(waiting)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.append(waiting)
        return waiting
