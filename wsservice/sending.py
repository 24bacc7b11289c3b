"""What waits to be sent on one connection, within a bound. PURE.

The transport holds little and says when it has enough; what comes then waits
here, as whole frames, so that it is known how much it is, and what may be left
out.
"""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from . import frames


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


SENT = Sent.SENT  # of an enumeration's members the name is looked up each time


class Kind(enum.Enum):
    """What may be left out."""

    MESSAGE = enum.auto()
    """A whole message, in one frame or several."""
    PONG = enum.auto()
    """Only the last one counts (RFC 6455, 5.5.3)."""
    OTHER = enum.auto()
    """Never left out."""


_GATHERED = 64 * 1024
"""Octets that are gathered for one write at most, and no more than half of what may wait."""

OVERHEAD = 100
"""Octets that are kept beside each frame that waits, some more or less."""


def no_payload(value: object) -> TypeError:
    """The error for what cannot be a payload."""
    return TypeError(f"a payload is bytes, not {type(value).__name__}; encode text")


class PreparedMessage:
    """A message to many connections. What it is on the wire is made once for each variant.

    Raises `TypeError` for a payload that is not bytes.
    """

    def __init__(self, payload: bytes, isBinary: bool = False, doNotCompress: bool = False) -> None:
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        self.payload = payload
        self.isBinary = isBinary
        self.doNotCompress = doNotCompress
        #: Its frame, neither compressed nor masked.
        self.plain = frames.encode(0x82 if isBinary else 0x81, payload)
        self._compressed: dict[int, bytes] = {}

    def compressed(self, window_bits: int, deflate: Callable[[bytes, int], bytes]) -> bytes:
        """Its frame compressed within a window, or plain where that is no longer."""
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
    """What octets can be sent on without a wait."""

    def send(self, data: bytes, /) -> int:
        """Send what there is room for: how many octets. Raises `OSError` where there is none."""


class Gatherer(Protocol):
    """Something that keeps what is sent while a `Gathering` is under way."""

    def send_gathered(self) -> None:
        """Send it."""


class Gathering:
    """Joins what is sent while something is under way, for each connection in one write.

    What a read brings is often answered by many messages, to this connection or to
    many others; and one connection is often told the same by many.
    """

    def __init__(self) -> None:
        #: Set by who begins, unless it is so already; `end` is theirs too.
        self.under_way = False
        #: Those that have something gathered.
        self.gatherers: list[Gatherer] = []

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Join what is sent within a block, unless that is so already."""
        if self.under_way:
            yield
            return
        self.under_way = True
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        """Send what was gathered. Raises what a write raised, after all the others."""
        error: Exception | None = None
        try:
            # Again for what is written by way of another, as TLS is.
            while self.gatherers:
                gatherers, self.gatherers = self.gatherers, []
                for each in gatherers:
                    try:
                        each.send_gathered()
                    except Exception as raised:
                        error = raised
        finally:
            self.under_way = False
        if error is not None:
            raise error


class Bound:
    """How much may wait in each of the queues that have it in common. May be changed at any time.

    `limit` is how many octets may wait before no more messages are taken, 0 for
    any number.
    """

    __slots__ = ("limit", "most_gathered")

    def __init__(self, limit: int) -> None:
        self.change(limit)

    def change(self, limit: int) -> None:
        """Set the limit."""
        self.limit = limit
        # Else one write could make a queue full before anybody was told that it fills.
        self.most_gathered = min(_GATHERED, limit // 2) if limit else _GATHERED


class SendQueue:
    """Frames on their way to a transport that can say stop.

    `bound` is how much may wait. `overhead` counts with each frame: without it, a few tiny ones
    would take thirty times what they are. `write` hands octets to the transport, and
    is true where none of them wait there: the next then go to `socket` at once, if there
    is one. `pause` and `resume` are called as the transport asks. While `gathering` is
    under way, frames that need not wait are written together.
    """

    __slots__ = (
        "_at_once",
        "_bound",
        "_first",
        "_gathering",
        "_held",
        "_in_transport",
        "_last",
        "_more",
        "_more_size",
        "_overhead",
        "_pong_waits",
        "_socket",
        "_waiting",
        "_write",
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
        overhead: int = OVERHEAD,
        socket: Socket | None = None,
    ) -> None:
        self._write = write
        self._socket = socket
        self._at_once: Socket | None = None
        self._bound = bound
        self._gathering = gathering
        self._overhead = overhead
        # Of what is gathered the first frame, which often is the only one, and the others:
        # of a broadcast to many, each object that is looked at takes time, for it is in no
        # cache any more.
        self._first = b""
        self._more: list[bytes] | None = None
        self._more_size = 0
        # Made when something waits: an empty one takes more than all the rest here.
        self._waiting: deque[tuple[bytes, Kind]] | None = None
        self._held = 0
        self._in_transport = 0
        self._last = 0
        self._pong_waits = False
        self.paused = False
        #: Whether what is sent now would wait.
        self.waits = False
        #: What was handed to the transport so far.
        self.octets_sent = 0
        self.messages_sent = 0

    @property
    def octets(self) -> int:
        """Octets that wait, those in the transport included once it said stop."""
        return self._held + self._in_transport

    @property
    def full(self) -> bool:
        """Whether no more messages are taken."""
        return 0 < self._bound.limit <= self.octets

    @property
    def half_full(self) -> bool:
        """Whether more than half of what may wait does."""
        return 0 < self._bound.limit < 2 * self.octets

    def put(self, data: bytes, kind: Kind) -> Sent:
        """Send, or keep until there is room. Whether it may is asked before, by `full`."""
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
            self._forget_pong()
            self._pong_waits = True
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((data, kind))
        self._held += len(data) + self._overhead
        return Sent.QUEUED

    def _gather_more(self, data: bytes) -> int:
        """Gather one that is not the first: how many octets there were before it."""
        before = len(self._first) + self._more_size
        if self._more is None:
            self._more = []
        self._more.append(data)
        self._more_size += len(data)
        return before

    def put_other(self, data: bytes, kind: Kind) -> Sent:
        """The same with what is no message, and not to be counted as one."""
        outcome = self.put(data, kind)
        # Messages are counted without a look at each, by whoever writes them.
        if outcome is SENT:
            self.messages_sent -= 1
        return outcome

    def send_gathered(self) -> None:
        """Write what was gathered."""
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
        """Do not write what was gathered: the transport is gone."""
        # They count, as was said of each.
        self.messages_sent += bool(self._first) + len(self._more or ())
        self._first = b""
        self._more = None
        self._more_size = 0

    def drop_messages(self, room: int | None = None) -> int:
        """Leave out the oldest messages until `room` octets more can wait, or all: how many."""
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
        # From the end, where it is: a flood of pings must not look through all that waits.
        waiting = self._waiting or deque()
        for index in range(len(waiting) - 1, -1, -1) if self._pong_waits else ():
            if waiting[index][1] is Kind.PONG:
                self._forget(waiting, index)
                return

    def _forget(self, waiting: deque[tuple[bytes, Kind]], index: int) -> None:
        self._held -= len(waiting[index][0]) + self._overhead
        del waiting[index]

    def pause(self) -> None:
        """The transport has enough."""
        self.paused = self.waits = True
        self._in_transport = self._last

    def resume(self) -> None:
        """The transport has sent all it had."""
        self.send_gathered()  # which is older than what waits
        self.paused = False
        self._in_transport = 0
        while self._waiting and not self.paused:
            data, kind = self._waiting.popleft()
            if kind is Kind.PONG:
                self._pong_waits = False
            self._held -= len(data) + self._overhead
            self._last = len(data)
            self._count(data, kind)
            self._hand_over(data)
        self.waits = self.paused

    def flush(self) -> None:
        """Hand all that waits to the transport, whether it wants it or not."""
        self.send_gathered()
        while self._waiting:
            data, kind = self._waiting.popleft()
            self._count(data, kind)
            self._hand_over(data)
        self._held = self._in_transport = 0
        self.waits = self.paused

    def _count(self, data: bytes, kind: Kind) -> None:
        self.octets_sent += len(data)
        self.messages_sent += kind is Kind.MESSAGE

    def _hand_over(self, data: bytes) -> None:
        socket = self._at_once
        if socket is not None:
            try:
                sent = socket.send(data)
            except OSError:
                sent = 0  # there is no room; or it is over, as the transport will find by itself
            if sent == len(data):
                return
            data = data[sent:]
            self._at_once = None
        if self._write(data):
            self._at_once = self._socket

    def write_by(
        self, write: Callable[[bytes], object], socket: Socket | None = None
    ) -> tuple[Callable[[bytes], object], Socket | None]:
        """Hand octets to another function and socket from now on; gives those of so far."""
        before = self._write, self._socket
        self._write, self._socket = write, socket
        self._at_once = None
        return before
