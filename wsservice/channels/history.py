"""Keep the last messages of each channel for clients that come back. PURE.

A channel's messages are numbered from 1 on, without a gap. A number is an *offset*. Numbers begin
anew with the service, and with a channel that was forgotten. An *epoch* tells which numbering an
offset belongs to. A client that knows both gets the messages after them, or is told of a gap.

All is bounded: the messages of a channel, their age, the octets and the channels in all. Old
messages are dropped when their channel is looked at, or when it is the channel that was published
on longest ago. There are no timers.
"""

from __future__ import annotations

import secrets
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import attrs

from ..config.config import Config
from ..config.keep import Keep
from .envelopes import SharedFrames
from .keeping import Keeps
from .message import ChannelMessage
from .query import Position

MOST_CHANNELS = 10_000
"""The most channels that are remembered. Those published on longest ago are forgotten."""

ENTRY_OVERHEAD = 250
"""Octets that a kept message takes besides its payload."""

CHANNEL_OVERHEAD = 1000
"""Octets that a remembered channel takes besides its name."""

PAGE = 64
"""The most messages of one answer."""

_EMPTY = sys.getsizeof("")

_SWEPT = 4
"""Old channels that each message may forget: more than it can add, so old ones never pile up."""


@attrs.frozen
class Missed:
    """Messages that a connection missed, the oldest first: all of them, or the first ones.

    If some of them are gone, `gap` is true and there are no messages. `position` is that of the
    last message here; with a gap, it is the channel's current one.
    """

    entries: Sequence[ChannelMessage]
    position: Position
    gap: bool = False
    whole: bool = False
    """True in an answer from elsewhere that has all messages up to the position, which is the
    current one. It is true in the turn of the answer only: another message may come in the next."""
    _frames: dict[int, SharedFrames] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def frames(self, index: int) -> SharedFrames:
        """Return the frames of a message, which all connections with this answer share."""
        frames = self._frames.get(index)
        if frames is None:
            frames = self._frames[index] = SharedFrames(self.entries[index])
        return frames

    def first(self, count: int) -> Missed:
        """Return the first messages only. `count` is at least 1."""
        offset = self.position.offset - len(self.entries) + count
        return Missed(self.entries[:count], Position(offset, self.position.epoch))

    def later(self) -> Missed:
        """Return the same messages for another turn, with the frames that were made so far."""
        if not self.whole:
            return self
        missed = attrs.evolve(self, whole=False)
        missed._frames.update(self._frames)
        return missed


@attrs.define(eq=False)
class _Channel:
    name: str
    number: int
    epoch: str
    octets: int = 0
    last: int = 0
    published: float = 0.0
    #: The seconds for which messages are kept, at the last publication; 0: of any age.
    seconds: float = 0.0
    #: Each message, with the moment when it was kept by the clock that measures its age.
    entries: deque[tuple[float, ChannelMessage]] = attrs.field(factory=deque)


class History:
    """Keeps messages of each channel.

    It keeps at most `size` messages of each channel, none older than `seconds` (0: of any age), or
    what `keeping` says of the channel, and at most `octets` of all channels together. A channel
    with more than its share of the octets loses its own oldest messages first when it is published
    on.
    """

    def __init__(
        self,
        size: int,
        seconds: float,
        octets: int,
        most_channels: int = MOST_CHANNELS,
        keeping: Keeps | None = None,
    ) -> None:
        #: What is kept of each channel.
        self.keeping = keeping or Keeps(Keep(size, seconds))
        self._most_channels = most_channels
        # Random, so that epochs of another run of the service are never taken for ours.
        self._id = secrets.token_urlsafe(9)
        # A channel's history gets an odd number. Channels without one are told an even number.
        self._count = 0
        self._last_forgotten = -1
        #: The channels. The one that was published on longest ago comes first.
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        # The same by the seconds for which their messages are kept, where these differ.
        self._lasting: dict[float, OrderedDict[str, _Channel]] = {}
        #: The most octets of all channels.
        self.most_octets = octets
        #: Returns True if a connection is on a channel, which is then not forgotten for its age.
        self.occupied: Callable[[str], bool] = lambda _: False
        #: The octets and messages of all channels.
        self.octets = 0
        self.messages = 0

    def __len__(self) -> int:
        """Return how many channels are remembered."""
        return len(self._channels)

    def append(self, message: ChannelMessage, now: float) -> ChannelMessage:
        """Keep a message, unless it alone is too large, and return it with its position.

        It gets no position on a channel of which nothing is kept. `now` is in seconds of a
        monotonic clock.
        """
        size, seconds = self.keeping.of_channel(message.channel)
        if not size:
            # By other rules something may have been kept of it, which leads nowhere now.
            if message.channel in self._channels:
                self._forget(message.channel)
            return message
        self._sweep(seconds, now)
        known = self._channels.get(message.channel) or self._begin(message.channel)
        self._channels.move_to_end(known.name)
        known.last += 1
        self._last_published(known, seconds, now)
        # With the channel's own copy of the name, which is counted: each message may bring another.
        _, payload, is_binary, time, *_ = message
        message = ChannelMessage(known.name, payload, is_binary, time, known.last, known.epoch)
        octets = _octets(message)
        if _overhead(known.name) + octets > self.most_octets:
            # It is sent on, but not kept. Older messages are dropped, since a client that got them
            # could not go on to the next one without a gap.
            self._drop(known, len(known.entries))
        else:
            known.entries.append((now, message))
            self.messages += 1
            self._count_octets(known, octets)
            self._drop(known, len(known.entries) - size)
            self._expire(known, now)
        self._make_room(known)
        return message

    def keeps(self, channel: str, place: Position) -> bool:
        """Return True if the message at a position is still kept."""
        known = self._channels.get(channel)
        if known is None or known.epoch != place.epoch:
            return False
        return known.last - len(known.entries) < place.offset

    def position(self, channel: str) -> Position:
        """Return the current position of a channel, from which a new connection goes on."""
        known = self._channels.get(channel)
        if known is None:
            return Position(0, self._epoch(self._count))
        return Position(known.last, known.epoch)

    def since(self, channel: str, since: Position, now: float) -> Missed:
        """Return up to `PAGE` messages of a channel after a position, the oldest first.

        `now` is in seconds of a monotonic clock.
        """
        known = self._channels.get(channel)
        if known is not None:
            self._expire(known, now)
        position = self.position(channel)
        number = self._number(since.epoch)
        if number is None:
            return Missed((), position, gap=True)
        if known is None or number != known.number:
            # Without a gap only for a client that was there before the channel's first message, and
            # only if no channel that began since was forgotten: it might have been this one.
            begun = self._count if known is None else known.number
            if since.offset or not self._last_forgotten < number <= begun:
                return Missed((), position, gap=True)
        last = 0 if known is None else known.last
        first = last + 1 - (0 if known is None else len(known.entries))
        if not first <= since.offset + 1 <= last + 1:
            return Missed((), position, gap=True)
        if known is None or since.offset == last:
            return Missed((), position)
        return _page(known, since.offset + 1 - first)

    def latest(self, channel: str, count: int, now: float) -> Missed:
        """Return up to `PAGE` of the last `count` messages of a channel, the oldest first.

        `count` is at least 1; fewer messages may be kept. `now` is as for `since`.
        """
        known = self._channels.get(channel)
        if known is not None:
            self._expire(known, now)
        if known is None or not known.entries:
            return Missed((), self.position(channel))
        return _page(known, max(0, len(known.entries) - count))

    def _epoch(self, number: int) -> str:
        return f"{self._id}.{number}"

    def _number(self, epoch: str) -> int | None:
        """Return the number in an epoch of ours, or None for any other epoch."""
        own, _, digits = epoch.rpartition(".")
        if own != self._id or not (digits.isascii() and digits.isdigit()):
            return None
        return int(digits)

    def _begin(self, channel: str) -> _Channel:
        if len(self._channels) >= self._most_channels:
            self._forget(next(iter(self._channels)))
        self._count += 2
        number = self._count - 1
        known = self._channels[channel] = _Channel(channel, number, self._epoch(number))
        self._count_octets(known, _overhead(channel))
        return known

    def _last_published(self, known: _Channel, seconds: float, now: float) -> None:
        """Note when a channel was published on last, and for how long its messages are kept."""
        known.published = now
        if self.keeping.is_uniform:
            self._lasting.clear()  # of other rules, before a reload
            known.seconds = seconds
            return
        if seconds != known.seconds:
            self._not_lasting(known)
            known.seconds = seconds
        if seconds:
            lasting = self._lasting.setdefault(seconds, OrderedDict())
            lasting[known.name] = known
            lasting.move_to_end(known.name)

    def _not_lasting(self, known: _Channel) -> None:
        lasting = self._lasting.get(known.seconds)
        if lasting is not None:
            lasting.pop(known.name, None)
            if not lasting:
                del self._lasting[known.seconds]

    def _forget(self, channel: str) -> None:
        known = self._channels.pop(channel)
        self._not_lasting(known)
        self.octets -= known.octets
        self.messages -= len(known.entries)
        self._last_forgotten = max(self._last_forgotten, known.number)

    def _count_octets(self, known: _Channel, octets: int) -> None:
        known.octets += octets
        self.octets += octets

    def _drop(self, known: _Channel, count: int) -> None:
        """Drop the oldest messages of a channel."""
        for _ in range(count):
            self.messages -= 1
            _, message = known.entries.popleft()
            self._count_octets(known, -_octets(message))

    def _expire(self, known: _Channel, now: float) -> None:
        """Drop messages of a channel that are too old."""
        if known.seconds:
            while known.entries and known.entries[0][0] + known.seconds <= now:
                self._drop(known, 1)

    def _sweep(self, seconds: float, now: float) -> None:
        """Forget channels without messages, of those that keep theirs for so many seconds."""
        if not seconds:
            return
        lasting = self._channels if self.keeping.is_uniform else self._lasting.get(seconds)
        if lasting is None:
            return
        for _ in range(min(_SWEPT, len(lasting))):
            channel, known = next(iter(lasting.items()))
            if known.published + seconds > now:
                return
            if self.occupied(channel):
                # Connections on it know its offset. A new epoch would be a gap for them.
                self._expire(known, now)
                self._channels.move_to_end(channel)
                self._last_published(known, seconds, now)
            else:
                self._forget(channel)

    def _make_room(self, appended: _Channel) -> None:
        while self.octets > self.most_octets:
            channel, oldest = next(iter(self._channels.items()))
            share = self.most_octets // len(self._channels)
            if len(appended.entries) > 1 and (appended.octets > share or oldest is appended):
                self._drop(appended, 1)
            elif oldest.entries:
                self._drop(oldest, 1)
            else:
                self._forget(channel)


def _page(known: _Channel, start: int) -> Missed:
    """Return up to `PAGE` messages of a channel, from one of those that are kept."""
    end = min(start + PAGE, len(known.entries))
    entries = [known.entries[index][1] for index in range(start, end)]
    return Missed(entries, Position(entries[-1].offset, known.epoch))


def _octets(message: ChannelMessage) -> int:
    """Return the octets that it takes to keep a message."""
    return len(message.payload) + ENTRY_OVERHEAD


def _overhead(channel: str) -> int:
    # Not its octets of UTF-8: in Python one character may make all others take four octets each.
    return CHANNEL_OVERHEAD + sys.getsizeof(channel) - _EMPTY


def history_of(config: Config) -> History | None:
    """Return the history that a configuration asks for, or None."""
    keeps = Keeps.of(config)
    if not keeps.any:
        return None
    return History(config.history_size, config.history_seconds, config.history_bytes, keeping=keeps)
