"""Hold the connections of one process by channel, and publish to them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator

from twisted.internet.defer import Deferred, fail, succeed

from ..config.keep import NOTHING, Keep
from ..errors import HistoryAwayError
from ..metrics import ChannelSizes, Histogram
from ..protocol.sending import SENT, PreparedMessage, Sent
from .contract import Hub, Member, Sizes
from .envelopes import SharedFrames
from .history import History, Missed
from .message import ChannelMessage, new_message
from .outcome import Published
from .page import HistoryPage, check_limit, no_history, read_page
from .presence import DEFAULT_LIMIT, Ask, Presence, checked, presence_of
from .query import Latest, Position, check_name
from .users import UserIndex, message_to, user_of


class LocalHub(Hub):
    """The hub of a service of one process, and the base of the others.

    It sends to the connections of this process, and keeps a `history` if one is given. `seconds` is
    a monotonic clock, `wall` returns seconds since 1970.
    """

    def __init__(
        self,
        seconds: Callable[[], float] = time.monotonic,
        *,
        history: History | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._wall = wall
        self.publishing = Histogram()
        self.kept = history
        if history is not None:
            history.occupied = self.is_occupied
        self.whole: Ask | None = None
        self.slow: Callable[[], int] = lambda: 0
        # Each connection with the channel or channels that it joined. Its own may have changed.
        self._members: dict[Member, str | tuple[str, ...] | None] = {}
        # In the order in which they came, which is roughly their order in memory.
        self._channels: dict[str, dict[Member, None]] = {}
        self._behind: dict[str, dict[Member, None]] = {}
        self._users = UserIndex()
        self.channel_sizes = ChannelSizes()
        self._open = 0
        self._unsettled: set[Member] = set()
        self._waiting: list[Deferred[None]] = []

    @property
    def has_history(self) -> bool:
        return self.kept is not None

    def keep(self, channel: str) -> Keep:
        return NOTHING if self.kept is None else self.kept.keeping.of_channel(channel)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def sizes(self) -> Sizes:
        return Sizes(self._open, self.channel_sizes.channels, self.channel_sizes.largest)

    def channels(self) -> list[str]:
        if not self._behind:
            return list(self._channels)
        return list(self._channels.keys() | self._behind.keys())

    def presence(self, channel: str, limit: int = DEFAULT_LIMIT) -> Deferred[Presence]:
        checked(limit)
        check_name(channel)
        if self.whole is None:
            return succeed(self.local_presence(channel, limit))
        return self.whole(channel, limit)

    def local_presence(self, channel: str, limit: int = DEFAULT_LIMIT) -> Presence:
        count = self.local_count(channel)
        members = self.local_members(channel) if checked(limit) or self._users else ()
        return presence_of(channel, members, count, limit, self._users.marks(members))

    def local_count(self, channel: str) -> int:
        return len(self._channels.get(channel, ())) + len(self._behind.get(channel, ()))

    def members(self, channel: str) -> tuple[Member, ...]:
        warnings.warn(
            "hub.members() knows one process only; await hub.presence() for the whole service,"
            " or call hub.local_members()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.local_members(channel)

    def local_members(self, channel: str) -> tuple[Member, ...]:
        return (*self._channels.get(channel, ()), *self._behind.get(channel, ()))

    def arrive(self, member: Member) -> None:
        self._members[member] = None
        self._unsettled.add(member)

    def join(self, member: Member, behind: bool = False) -> None:
        channels = member.channels
        self._open += self._members.get(member) is None
        self._members[member] = channels if len(channels) > 1 else channels[0]
        where = self._behind if behind else self._channels
        for channel in channels:
            where.setdefault(channel, {})[member] = None
            self.channel_sizes.grew(channel, self.local_count(channel))
        self._join_user(member)

    def _join_user(self, member: Member) -> None:
        user = member.user
        if user is not None and self._users.join(member, user.id):
            self._user_came(user.id)

    def _leave_user(self, member: Member) -> None:
        user = self._users.leave(member)
        if user is not None:
            self._user_left(user)

    def _user_came(self, user: str) -> None:
        """Do nothing. Overridden to act when a user gets a first connection here."""

    def _user_left(self, user: str) -> None:
        """Do nothing. Overridden to act when the last connection of a user leaves."""

    def identify(self, member: Member) -> None:
        user = None if member.user is None else member.user.id
        # A renewed credential of the same user leaves the connection in its place.
        if self._members.get(member) is not None and self._users.user(member) != user:
            self._leave_user(member)
            self._join_user(member)

    def users(self) -> Collection[str]:
        return tuple(self._users)

    def user_count(self, user: str) -> int:
        return self._users.count(user)

    def user_members(self, user: str) -> tuple[Member, ...]:
        return self._users.connections(user)

    def catch_up(self, member: Member, channel: str, position: Position | None = None) -> None:
        if _removed(self._behind, channel, member):
            self._channels.setdefault(channel, {})[member] = None

    def is_occupied(self, channel: str) -> bool:
        return channel in self._channels or channel in self._behind

    @property
    def unsettled(self) -> int:
        return len(self._unsettled)

    def settle(self, member: Member) -> None:
        self._unsettled.discard(member)
        if not self._unsettled:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def leave(self, member: Member) -> None:
        for channel in self._joined(member):
            if not _removed(self._channels, channel, member):
                _removed(self._behind, channel, member)
            self.channel_sizes.shrank(channel, self.local_count(channel))
        self._leave_user(member)
        self._open -= self._members.pop(member, None) is not None
        self.settle(member)

    def _joined(self, member: Member) -> tuple[str, ...]:
        """Return the channels that a connection has joined."""
        joined = self._members.get(member)
        return (joined,) if isinstance(joined, str) else joined or ()

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        return self._publish(new_message(channel, payload, isBinary, self._wall()))

    def send_user(self, user: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        return succeed(self._send_to(message_to(user, payload, isBinary)))

    def send_local(self, user: str, payload: bytes, isBinary: bool = False) -> Published:
        return self._send_to(message_to(user, payload, isBinary))

    def _send_to(self, message: ChannelMessage) -> Published:
        """Send a message to the connections of a user that are here."""
        frame = PreparedMessage(message.payload, message.is_binary)
        members = self.user_members(user_of(message.channel) or "")
        outcomes = [each.sendPreparedMessage(frame) for each in members]
        return Published(sum(map(bool, outcomes)), outcomes.count(Sent.SLOW))

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        before = self.slow()
        handed = self._publish(message._replace(time=self._wall()))
        return succeed(Published(handed, self.slow() - before))

    def _publish(self, message: ChannelMessage) -> int:
        """Keep a message that has its time, send it, and return as `publish` does."""
        if self.kept is not None:
            message = self.kept.append(message, self._seconds())
        handed = self._send(message)
        return handed + self._will_fetch(message) if self._behind else handed

    def _send(self, message: ChannelMessage) -> int:
        """Send a message to connections that are not behind, and return how many took it."""
        frames = SharedFrames(message)
        began = self._seconds()
        members = tuple(self._channels.get(message.channel, ()))
        # By the class: a search of each connection's own attributes would find none of that name.
        outcomes = [type(member).sendPreparedMessage(member, frames) for member in members]
        self.publishing.observe(self._seconds() - began)
        handed = outcomes.count(SENT)
        if handed < len(outcomes):
            # The truth of an outcome is a method in Python, so it is not called if all are SENT.
            handed = sum(map(bool, outcomes))
        return handed

    def position(self, channel: str) -> Deferred[Position]:
        return succeed(self._kept().position(channel))

    def missed(self, channel: str, since: Position | Latest) -> Deferred[Missed]:
        kept, now = self._kept(), self._seconds()
        if isinstance(since, Latest):
            return succeed(kept.latest(channel, since.count, now))
        return succeed(kept.since(channel, since, now))

    def history(
        self, channel: str, limit: int = DEFAULT_LIMIT, since: Position | None = None
    ) -> Deferred[HistoryPage]:
        check_limit(limit)
        check_name(channel)
        if not self.has_history:
            raise no_history()
        away = self._away(channel)
        if away is not None:
            # A question would wait until the history is there again, which may take long.
            return fail(HistoryAwayError(away))
        return Deferred.fromCoroutine(read_page(self.missed, channel, limit, since))

    def _away(self, channel: str) -> str | None:
        """Return why the history of a channel cannot be read now. Overridden if it may be away."""
        return None

    def _kept(self) -> History:
        if self.kept is None:
            raise no_history()
        return self.kept

    def when_settled(self) -> Deferred[None]:
        if not self._unsettled:
            return succeed(None)

        def forget(waiting: Deferred[None]) -> None:
            self._waiting.remove(waiting)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.append(waiting)
        return waiting

    def _will_fetch(self, message: ChannelMessage) -> int:
        """Return how many connections that are behind will find a message in the history."""
        position = message.position
        if self.kept is None or position is None:
            return 0
        if not self.kept.keeps(message.channel, position):
            return 0
        return len(self._behind.get(message.channel, ()))


def _removed(those: dict[str, dict[Member, None]], channel: str, member: Member) -> bool:
    """Remove a member from a channel, and return True if it was on it."""
    members = those.get(channel)
    if members is None or member not in members:
        return False
    del members[member]
    if not members:
        del those[channel]
    return True
