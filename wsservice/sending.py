"""What waits to be sent on one connection, within a bound. PURE.

The transport holds little and says when it has enough; what comes then waits
here, as whole frames, so that it is known how much it is, and what may be left
out.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable


class Sent(enum.Enum):
    """What became of a message. True where it is on its way."""

    SENT = "sent"
    """Handed to the transport."""
    QUEUED = "queued"
    """Waits until the peer has read what was sent before."""
    SLOW = "slow"
    """Not sent: the peer reads too slowly, and too much waits for it already."""
    CLOSED = "closed"
    """Not sent: the connection is closing or closed."""

    def __bool__(self) -> bool:
        return self in (Sent.SENT, Sent.QUEUED)


class Kind(enum.Enum):
    """What may be left out."""

    MESSAGE = enum.auto()
    """A whole message, in one frame or several."""
    PONG = enum.auto()
    """Only the last one counts (RFC 6455, 5.5.3)."""
    OTHER = enum.auto()
    """Never left out."""


class SendQueue:
    """Frames on their way to a transport that can say stop.

    `limit` is how many octets may wait before no more messages are taken, 0 for
    any number. `write` hands octets to the transport; `pause` and `resume` are
    called as the transport asks.
    """

    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self._write = write
        self._limit = limit
        self._waiting: deque[tuple[bytes, Kind]] = deque()
        self._last = 0
        self.paused = False
        #: Octets that wait, those in the transport included once it said stop.
        self.octets = 0

    @property
    def full(self) -> bool:
        """Whether no more messages are taken."""
        return 0 < self._limit <= self.octets

    @property
    def half_full(self) -> bool:
        """Whether more than half of what may wait does."""
        return 0 < self._limit < 2 * self.octets

    def put(self, data: bytes, kind: Kind) -> Sent:
        """Send, or keep until there is room. Whether it may is asked before, by `full`."""
        if not self.paused and not self._waiting:
            self._last = len(data)
            self._write(data)
            return Sent.SENT
        if kind is Kind.PONG:
            self._forget(Kind.PONG)
        self._waiting.append((data, kind))
        self.octets += len(data)
        return Sent.QUEUED

    def drop_messages(self, room: int | None = None) -> int:
        """Leave out the oldest messages until `room` octets more can wait, or all: how many."""
        dropped = 0
        while (room is None or self.octets + room > self._limit) and self._forget(Kind.MESSAGE):
            dropped += 1
        return dropped

    def _forget(self, kind: Kind) -> bool:
        for index, (data, each) in enumerate(self._waiting):
            if each is kind:
                del self._waiting[index]
                self.octets -= len(data)
                return True
        return False

    def pause(self) -> None:
        """The transport has enough."""
        self.paused = True
        self.octets += self._last

    def resume(self) -> None:
        """The transport has sent all it had."""
        self.paused = False
        self.octets = sum(len(data) for data, _ in self._waiting)
        while self._waiting and not self.paused:
            data, _ = self._waiting.popleft()
            self.octets -= len(data)
            self._last = len(data)
            self._write(data)

    def flush(self) -> None:
        """Hand all that waits to the transport, whether it wants it or not."""
        while self._waiting:
            self._write(self._waiting.popleft()[0])
        self.octets = 0
