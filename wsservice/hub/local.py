"""The hub of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ..channels import Position
from ..counting import Histogram
from ..envelopes import Published
from ..history import History, Missed
from ..sending import SENT, PreparedMessage


class Member(Protocol):
    """What the hub needs of a connection."""

    channel: str

    @property
    def channels(self) -> tuple[str, ...]:
        """All that it is on, its own first, none twice."""

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> object:
        """Send one message; what it returns is true if the connection took it."""

    def fall_behind(self, channel: str, since: Position) -> None:
        """Fetch what was missed of a channel since a position: some was lost on its way."""

    def go_away(self) -> None:
        """Say goodbye because the service stops."""


class LocalHub:
    """The connections of this process, and those of them that are open, by channel.

    A connection is in the hub from its first octet to its last: `arrive`, then,
    once its handshake is done, `join` the channels it is on, and `leave`. The
    hub's own count therefore holds whatever a behaviour's callbacks raise. One
    that is over but for the peer's end of it may `settle` before it leaves.

    With a `history`, a connection may join *behind*: it gets nothing of what is
    published until it has fetched what it `missed`, and then, in the same turn in
    which it missed nothing any more, says `catch_up`. What is published meanwhile
    is in the history, so that nothing waits for it elsewhere. `position` and
    `missed` return a Deferred where a history is kept elsewhere.

    `seconds` is a clock that nobody sets, `wall` gives seconds since 1970.
    """

    def __init__(
        self,
        seconds: Callable[[], float] = time.perf_counter,
        *,
        history: History | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._wall = wall
        #: From a message's being published to its being handed to the last connection.
        self.publishing = Histogram()
        #: None where none is kept here.
        self.history = history
        if history is not None:
            history.occupied = self.is_occupied
        # Each with the channel that it joined, or several, whatever its own has become since.
        self._members: dict[Member, str | tuple[str, ...] | None] = {}
        # In the order of their coming, which is how they lie in memory.
        self._channels: dict[str, dict[Member, None]] = {}
        self._behind: dict[str, dict[Member, None]] = {}
        self._unsettled: set[Member] = set()
        self._waiting: list[Deferred[None]] = []

    @property
    def has_history(self) -> bool:
        """Whether there is a history, here or elsewhere."""
        return self.history is not None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        """All connections of now, as they came; safe against those that leave meanwhile."""
        return iter(tuple(self._members))

    def channel_sizes(self) -> list[int]:
        """How many open connections each channel has that has any."""
        return [count for _, count in self.channels()]

    def channels(self) -> list[tuple[str, int]]:
        """Each channel that has open connections, and how many, in no order."""
        if not self._behind:
            return [(name, len(members)) for name, members in self._channels.items()]
        names = self._channels.keys() | self._behind.keys()
        return [(name, len(self.members(name))) for name in names]

    def members(self, channel: str) -> tuple[Member, ...]:
        """The open connections of a channel, as they came to it; last those that are behind."""
        return (*self._channels.get(channel, ()), *self._behind.get(channel, ()))

    def arrive(self, member: Member) -> None:
        """A connection was accepted."""
        self._members[member] = None
        self._unsettled.add(member)

    def join(self, member: Member, behind: bool = False) -> None:
        """A connection is open, and gets what is published on its channels; or is behind on all."""
        channels = member.channels
        self._members[member] = channels if len(channels) > 1 else channels[0]
        where = self._behind if behind else self._channels
        for channel in channels:
            where.setdefault(channel, {})[member] = None

    def catch_up(self, member: Member, channel: str, position: Position | None = None) -> None:
        """A connection that was behind on a channel has all that was published there.

        That is to say, up to `position`, where that is known.
        """
        if _removed(self._behind, channel, member):
            self._channels.setdefault(channel, {})[member] = None

    def is_occupied(self, channel: str) -> bool:
        """Whether an open connection is on a channel."""
        return channel in self._channels or channel in self._behind

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
        for channel in self._joined(member):
            if not _removed(self._channels, channel, member):
                _removed(self._behind, channel, member)
        self._members.pop(member, None)
        self.settle(member)

    def _joined(self, member: Member) -> tuple[str, ...]:
        """The channels that a connection has joined."""
        joined = self._members.get(member)
        return (joined,) if isinstance(joined, str) else joined or ()

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel, and keep it in the history.

        Returns to how many it was handed: those included that are behind, and will
        find it in the history. Raises `TypeError` for a payload that is not bytes.
        """
        message = Published(channel, payload, isBinary, self._wall())
        if self.history is not None:
            entry = self.history.append(channel, payload, isBinary, message.time)
            message.position = Position(entry.offset, entry.epoch)
        return self.hand_out(message)

    def hand_out(self, message: Published) -> int:
        """Send a message that has its place in the history, if there is one: as `publish`."""
        handed = self._send(message)
        return handed + self._will_fetch(message) if self._behind else handed

    def _send(self, message: Published) -> int:
        """Send a message to those who are not behind: how many took it."""
        began = self._seconds()
        members = tuple(self._channels.get(message.channel, ()))
        # By its class: a look into each one's own attributes finds none of that name.
        outcomes = [type(member).sendPreparedMessage(member, message) for member in members]
        self.publishing.observe(self._seconds() - began)
        handed = outcomes.count(SENT)
        if handed < len(outcomes):
            # Whether an outcome is true is asked in Python: not where all are the usual one.
            handed = sum(map(bool, outcomes))
        return handed

    def position(self, channel: str) -> Position | None:
        """Where a channel is now; None where no history is kept."""
        return None if self.history is None else self.history.position(channel)

    def missed(self, channel: str, since: Position) -> Missed:
        """What was published on a channel since a position, the first of it.

        Raises `RuntimeError` where no history is kept.
        """
        if self.history is None:
            raise RuntimeError("no history is kept")
        return self.history.since(channel, since, self._wall())

    def when_settled(self) -> Deferred[None]:
        """Fires once all connections have left or settled; cancel it to stop waiting."""
        if not self._unsettled:
            return succeed(None)

        def forget(waiting: Deferred[None]) -> None:
            self._waiting.remove(waiting)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.append(waiting)
        return waiting

    def _will_fetch(self, message: Published) -> int:
        """How many are behind on a channel and will find a message in its history."""
        if self.history is None or message.position is None:
            return 0
        if not self.history.keeps(message.channel, message.position):
            return 0
        return len(self._behind.get(message.channel, ()))


def _removed(those: dict[str, dict[Member, None]], channel: str, member: Member) -> bool:
    """Whether a member was on a channel, and is no more."""
    members = those.get(channel)
    if members is None or member not in members:
        return False
    del members[member]
    if not members:
        del those[channel]
    return True
