"""The last messages of each channel, kept for those who come back. PURE.

A channel's messages are numbered from 1 on, without a gap: a number is an
*offset*. The numbers begin anew with the service, and with a channel that was
forgotten meanwhile; an *epoch* tells which of these a number belongs to. Who
knows both can be given what came after it, or be told that some of that is gone.

All is bounded: messages of a channel, their age, octets and channels in all.
What is too old goes when its channel is looked at, or when it is the one that
was published on longest ago: nothing has a timer.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import attrs

from .channels import Position
from .config import Config

MOST_CHANNELS = 10_000
"""Channels that are remembered; of more, those published on longest ago are forgotten."""

ENTRY_OVERHEAD = 250
"""Octets that it takes to keep a message, besides its own."""

CHANNEL_OVERHEAD = 1000
"""Octets that it takes to remember a channel, besides its name."""

PAGE = 64
"""Messages that are given at once."""

_SWEPT = 4
"""Channels looked at for being too old with each message: more than are added."""


@attrs.define(eq=False)  # frozen it would take twice as long to make
class Entry:
    """A message as it was published. Nobody changes it."""

    channel: str
    offset: int
    epoch: str
    #: Seconds since 1970.
    time: float
    payload: bytes
    isBinary: bool

    @property
    def octets(self) -> int:
        """What it takes to keep it."""
        return len(self.payload) + ENTRY_OVERHEAD


@attrs.frozen
class Missed:
    """What somebody missed: messages in order, the first of them, or none.

    `gap` is true where some of it is gone: there are no messages then. `position`
    is where they lead to; with a gap, where the channel is.
    """

    entries: Sequence[Entry]
    position: Position
    gap: bool = False


@attrs.define(eq=False)
class _Channel:
    number: int
    epoch: str
    octets: int = 0
    last: int = 0
    published: float = 0.0
    entries: deque[Entry] = attrs.field(factory=deque)


class History:
    """Keeps messages of each channel.

    At most `size` of each, none older than `seconds` (0: of any age), and at most
    `octets` of all channels together. Of these, a channel that has more than its
    share gives up its own oldest first, when it is published on.
    """

    def __init__(
        self,
        size: int,
        seconds: float,
        octets: int,
        most_channels: int = MOST_CHANNELS,
    ) -> None:
        self._size = size
        self._seconds = seconds
        self._most_channels = most_channels
        # Not to be guessed, and another one after a restart.
        self._id = secrets.token_urlsafe(9)
        # Odd is the number of a channel's history, even what is told of a channel without.
        self._count = 0
        self._last_forgotten = -1
        #: The one published on longest ago comes first.
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        #: Octets that there may be.
        self.most_octets = octets
        #: Whether somebody is on a channel: it is not forgotten for its age then.
        self.occupied: Callable[[str], bool] = lambda _: False
        #: Octets of all, and messages.
        self.octets = 0
        self.messages = 0

    def __len__(self) -> int:
        """How many channels are remembered."""
        return len(self._channels)

    def append(self, channel: str, payload: bytes, isBinary: bool, now: float) -> Entry:
        """Keep a message, unless it alone is too large; what it is called either way.

        `now` is in seconds since 1970.
        """
        self._sweep(now)
        known = self._channels.get(channel) or self._begin(channel)
        self._channels.move_to_end(channel)
        known.last += 1
        known.published = now
        entry = Entry(channel, known.last, known.epoch, now, payload, isBinary)
        if _overhead(channel) + entry.octets > self.most_octets:
            # It is passed on, but not kept, and what came before it leads nowhere.
            self._drop(known, len(known.entries))
        else:
            known.entries.append(entry)
            self.messages += 1
            self._count_octets(known, entry.octets)
            self._drop(known, len(known.entries) - self._size)
            self._expire(known, now)
        self._make_room(known)
        return entry

    def keeps(self, channel: str, place: Position) -> bool:
        """Whether the message that was given this place is there for those who come for it."""
        known = self._channels.get(channel)
        if known is None or known.epoch != place.epoch or not known.entries:
            return False
        return known.entries[0].offset <= place.offset

    def position(self, channel: str) -> Position:
        """Where a channel is now: up to where somebody has its messages who comes to it."""
        known = self._channels.get(channel)
        if known is None:
            return Position(0, self._epoch(self._count))
        return Position(known.last, known.epoch)

    def since(self, channel: str, since: Position, now: float) -> Missed:
        """What came on a channel after a position: up to `PAGE` messages, the oldest first."""
        known = self._channels.get(channel)
        if known is not None:
            self._expire(known, now)
        position = self.position(channel)
        number = self._number(since.epoch)
        if number is None:
            return Missed((), position, gap=True)
        if known is None or number != known.number:
            # Right only for one who was there before the channel's first message, and
            # if none that began since was forgotten: it might have been this one.
            begun = self._count if known is None else known.number
            if since.offset or not self._last_forgotten < number <= begun:
                return Missed((), position, gap=True)
        last = 0 if known is None else known.last
        first = last + 1 - (0 if known is None else len(known.entries))
        if not first <= since.offset + 1 <= last + 1:
            return Missed((), position, gap=True)
        if known is None or since.offset == last:
            return Missed((), position)
        start = since.offset + 1 - first
        end = min(start + PAGE, len(known.entries))
        entries = [known.entries[index] for index in range(start, end)]
        return Missed(entries, Position(entries[-1].offset, known.epoch))

    def _epoch(self, number: int) -> str:
        return f"{self._id}.{number}"

    def _number(self, epoch: str) -> int | None:
        """The number in one of our epochs, None of any other."""
        own, _, digits = epoch.rpartition(".")
        if own != self._id or not (digits.isascii() and digits.isdigit()):
            return None
        return int(digits)

    def _begin(self, channel: str) -> _Channel:
        if len(self._channels) >= self._most_channels:
            self._forget(next(iter(self._channels)))
        self._count += 2
        number = self._count - 1
        known = self._channels[channel] = _Channel(number, self._epoch(number))
        self._count_octets(known, _overhead(channel))
        return known

    def _forget(self, channel: str) -> None:
        known = self._channels.pop(channel)
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
            self._count_octets(known, -known.entries.popleft().octets)

    def _expire(self, known: _Channel, now: float) -> None:
        """Drop what is too old."""
        if self._seconds:
            while known.entries and known.entries[0].time + self._seconds <= now:
                self._drop(known, 1)

    def _sweep(self, now: float) -> None:
        """Forget channels that have nothing left, of those published on longest ago."""
        if not self._seconds:
            return
        for _ in range(min(_SWEPT, len(self._channels))):
            channel, known = next(iter(self._channels.items()))
            if known.published + self._seconds > now:
                return
            if self.occupied(channel):
                # Who is on it knows its offset.
                self._expire(known, now)
                self._channels.move_to_end(channel)
                known.published = now
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


def _overhead(channel: str) -> int:
    return CHANNEL_OVERHEAD + len(channel.encode(errors="surrogatepass"))


def history_of(config: Config) -> History | None:
    """The history that a configuration asks for."""
    if not config.history_size:
        return None
    return History(config.history_size, config.history_seconds, config.history_bytes)
