"""Queue frames that wait to be sent on one connection, within a bound. PURE.

The transport holds little, and says when it has enough. Frames after that wait here as a whole. So
the queue knows how many octets wait, and can leave out a message.

See docs/decisions/send-queue.md.
"""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from ..net.gathering import Gathering
from . import frames
from .budget import Budget


class Sent(enum.Enum):
    """The outcome of sending a message. It is true if the message is on its way."""

    SENT = "sent"
    """Handed to the transport."""
    QUEUED = "queued"
    """Waits until the peer has read what was sent before."""
    SLOW = "slow"
    """Not sent: the peer reads too slowly, and the queue is full."""
    CLOSED = "closed"
    """Not sent: the connection is closing or closed."""

    def __bool__(self) -> bool:
        return self in (Sent.SENT, Sent.QUEUED)


SENT = Sent.SENT  # a global, since `Sent.SENT` looks the name up for each message


class Kind(enum.Enum):
    """The kind of a frame, which decides whether it may be left out."""

    MESSAGE = enum.auto()
    """A whole message, in one frame or several."""
    KEPT = enum.auto()
    """A whole message that is never left out."""
    PONG = enum.auto()
    """Only the last one counts (RFC 6455, 5.5.3)."""
    OTHER = enum.auto()
    """Never left out."""


_GATHERED_OCTETS = 64 * 1024
"""The most octets that are gathered for one write; half of the queue's limit if that is less."""

OVERHEAD_OCTETS = 100
"""Octets of memory that a waiting frame takes beside its own octets, roughly.

When only payloads counted, half a megabyte of unread echoes of three octets took 20 MiB.
"""


def no_payload(value: object) -> TypeError:
    """Return the error for a payload that is not bytes."""
    return TypeError(f"a payload is bytes, not {type(value).__name__}; encode text")


class PreparedMessage:
    """The frame of a message to many connections, made once, and once for each window size.

    It is ready for sockets: what is left of a message of a channel when nothing asks for its
    channel, time and position any more (`channels.message`). Autobahn gave the name.

    Raises `TypeError` for a payload that is not bytes.
    """

    def __init__(self, payload: bytes, isBinary: bool = False, doNotCompress: bool = False) -> None:
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        self.payload = payload
        self.isBinary = isBinary
        self.doNotCompress = doNotCompress
        #: Its frame, neither compressed nor masked. Servers do not mask (RFC 6455, 5.1).
        self.plain = frames.encode(0x82 if isBinary else 0x81, payload)

    @cached_property
    def _compressed(self) -> dict[int, bytes]:
        """Its compressed frames, by window size."""
        return {}

    def compressed(self, window_bits: int, deflate: Callable[[bytes, int], bytes]) -> bytes:
        """Return its frame compressed within a window, or its plain frame if that is not longer.

        `deflate` compresses a payload within a window of some bits.
        """
        frame = self._compressed.get(window_bits)
        if frame is None:
            data = deflate(self.payload, window_bits)
            if len(data) < len(self.payload):
                frame = frames.encode(0xC2 if self.isBinary else 0xC1, data)
            else:
                frame = self.plain
            self._compressed[window_bits] = frame
        return frame


class Socket(Protocol):
    """A socket that does not block."""

    def send(self, data: bytes, /) -> int:
        """Send octets, and return how many found room. Raises `OSError` if none did."""


class Bound:
    """The limit that the queues of a factory share. It may be changed at any time.

    `limit` is how many octets may wait before a queue takes no more messages, 0 for any number.
    """

    __slots__ = ("limit", "most_gathered")

    def __init__(self, limit: int) -> None:
        self.change(limit)

    def change(self, limit: int) -> None:
        """Set the limit."""
        self.limit = limit
        # With more, one write could fill a queue before a producer was told to pause.
        self.most_gathered = min(_GATHERED_OCTETS, limit // 2) if limit else _GATHERED_OCTETS


class SendQueue:
    """A queue of frames on their way to a transport that can say stop.

    - `write` passes octets to the transport, and returns true if none of them wait there. The next
      octets then go to `socket` at once, if there is one.
    - `bound` limits the octets that may wait.
    - `gathering`: while it is under way, frames that need not wait are written together.
    - `overhead` is the octets that count with each waiting frame: a tiny frame takes thirty times
      its own octets.
    - `budget` counts each waiting frame.

    The owner calls `pause` and `resume` when the transport asks for that.
    """

    __slots__ = (
        "_at_once",
        "_bound",
        "_budget",
        "_first",
        "_gathering",
        "_held",
        "_last",
        "_more",
        "_more_size",
        "_overhead",
        "_pong_waits",
        "_socket",
        "_waiting",
        "_write",
        "in_transport",
        "messages_sent",
        "octets_sent",
        "paused",
        "waits",
    )

    def __init__(
        self,
        write: Callable[[bytes], object],
        bound: Bound,
        gathering: Gathering,
        overhead: int = OVERHEAD_OCTETS,
        socket: Socket | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._write = write
        self._socket = socket
        self._at_once: Socket | None = None
        self._bound = bound
        self._gathering = gathering
        self._budget = budget or Budget(0, time.monotonic)
        self._overhead = overhead
        # The first gathered frame, which often is the only one, and the others. In a broadcast to
        # a thousand each object is in no cache any more: without a list for the first frame, a
        # receiver costs 10 % less.
        self._first = b""
        self._more: list[bytes] | None = None
        self._more_size = 0
        # Made when a frame waits, since an empty deque takes 600 octets, more than all the rest.
        self._waiting: deque[tuple[bytes, Kind]] | None = None
        self._held = 0
        #: Octets that wait in the transport, known only once it has said stop.
        self.in_transport = 0
        self._last = 0
        self._pong_waits = False
        self.paused = False
        #: True if a frame that is sent now would wait.
        self.waits = False
        #: Octets and messages passed to the transport so far.
        self.octets_sent = 0
        self.messages_sent = 0

    @property
    def octets(self) -> int:
        """The octets that wait, including those in the transport once it has said stop."""
        return self._held + self.in_transport

    @property
    def full(self) -> bool:
        """True if the queue takes no more messages."""
        return 0 < self._bound.limit <= self.octets

    @property
    def half_full(self) -> bool:
        """True if more than half of the limit waits."""
        return 0 < self._bound.limit < 2 * self.octets

    def put(self, data: bytes, kind: Kind) -> Sent:
        """Send a frame, or queue it. The caller checks `full` before.

        Returns `Sent.SENT` or `Sent.QUEUED`.
        """
        if not self.waits:
            if self._gathering.under_way:
                size = len(data)
                if not self._first:
                    self._gathering.gatherers.append(self)
                    self._first = data
                else:
                    size += self._gather_more(data)
                if size > self._bound.most_gathered:
                    self.send_gathered()
            else:
                self._last = size = len(data)
                self.octets_sent += size
                self.messages_sent += 1
                self._hand_over(data)
            return SENT
        if kind is Kind.PONG:
            # Otherwise a flood of pings by a peer that does not read would fill the queue.
            self._forget_pong()
            self._pong_waits = True
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((data, kind))
        self._held += len(data) + self._overhead
        self._budget.enter(data, self._overhead)
        return Sent.QUEUED

    def _gather_more(self, data: bytes) -> int:
        """Gather a frame that is not the first, and return the octets gathered before it."""
        before = len(self._first) + self._more_size
        if self._more is None:
            self._more = []
        self._more.append(data)
        self._more_size += len(data)
        return before

    def put_other(self, data: bytes, kind: Kind) -> Sent:
        """Send or queue octets that do not count as a message, such as a ping."""
        outcome = self.put(data, kind)
        # The writing code counts every frame as a message, to save a check for each.
        if outcome is SENT:
            self.messages_sent -= 1
        return outcome

    def send_gathered(self) -> None:
        """Write the gathered frames."""
        data = self._first
        if data:
            if self._more:
                self.messages_sent += len(self._more)
                data = b"".join([data, *self._more])
                self._more.clear()
                self._more_size = 0
            self._first = b""
            self._last = size = len(data)
            self.octets_sent += size
            self.messages_sent += 1
            self._hand_over(data)

    def forget_gathered(self) -> None:
        """Forget the gathered frames, since the transport is gone."""
        # They count as sent, since `put` has returned SENT for each.
        self.messages_sent += bool(self._first) + len(self._more or ())
        self._first = b""
        self._more = None
        self._more_size = 0

    def drop_messages(self, room: int | None = None) -> int:
        """Leave out the oldest messages until `room` more octets can wait, or all if it is None.

        Returns how many messages were left out.
        """
        dropped = 0
        if room is not None:
            room += self._overhead
        while (room is None or self.octets + room > self._bound.limit) and self._forget_message():
            dropped += 1
        return dropped

    def _forget_message(self) -> bool:
        waiting = self._waiting or deque()
        for index, (_, kind) in enumerate(waiting):
            if kind is Kind.MESSAGE:
                self._forget(waiting, index)
                return True
        return False

    def _forget_pong(self) -> None:
        # From the end, where the pong is: a flood of pings must not search the queue each time.
        waiting = self._waiting or deque()
        for index in range(len(waiting) - 1, -1, -1) if self._pong_waits else ():
            if waiting[index][1] is Kind.PONG:
                self._forget(waiting, index)
                return

    def _forget(self, waiting: deque[tuple[bytes, Kind]], index: int) -> None:
        data, _ = waiting[index]
        del waiting[index]
        self._left(data)

    def _left(self, data: bytes) -> None:
        """Stop counting a frame that waited."""
        self._held -= len(data) + self._overhead
        self._budget.leave(data, self._overhead)

    def pause(self) -> None:
        """Queue frames from now on, since the transport has enough."""
        # The transport says stop during a write, so at least the octets of that write wait in it.
        self.paused = self.waits = True
        self.in_transport = self._last

    def resume(self) -> None:
        """Write queued frames until the transport says stop again."""
        self.send_gathered()  # gathered frames are older than queued ones
        self.paused = False
        self.in_transport = 0
        while self._waiting and not self.paused:
            data, kind = self._waiting.popleft()
            if kind is Kind.PONG:
                self._pong_waits = False
            self._left(data)
            self._last = len(data)
            self._count(data, kind)
            self._hand_over(data)
        self.waits = self.paused

    def flush(self) -> None:
        """Pass all queued frames to the transport, even if it has said stop."""
        self.send_gathered()
        while self._waiting:
            data, kind = self._waiting.popleft()
            self._left(data)
            self._count(data, kind)
            self._hand_over(data)
        self.in_transport = 0
        self.waits = self.paused

    def forget(self) -> None:
        """Forget the queued frames, since the transport is gone."""
        while self._waiting:
            self._left(self._waiting.popleft()[0])

    def _count(self, data: bytes, kind: Kind) -> None:
        self.octets_sent += len(data)
        self.messages_sent += kind in (Kind.MESSAGE, Kind.KEPT)

    def _hand_over(self, data: bytes) -> None:
        socket = self._at_once
        if socket is not None:
            try:
                sent = socket.send(data)
            except OSError:
                sent = 0  # no room, or an error that the transport will find by itself
            if sent == len(data):
                return
            data = data[sent:]
            self._at_once = None
        if self._write(data):
            self._at_once = self._socket

    def write_by(
        self, write: Callable[[bytes], object], socket: Socket | None = None
    ) -> tuple[Callable[[bytes], object], Socket | None]:
        """Pass octets to another function and socket from now on, and return the former two."""
        before = self._write, self._socket
        self._write, self._socket = write, socket
        self._at_once = None
        return before
