"""One end of the bus, the connection between parent and worker.

The messages of one turn of the reactor leave in one write at its end. The queue to an end that does
not read is bounded: publications that do not fit are dropped and counted. All other messages are
queued without a bound, since they are few.

Incoming messages are handled in slices of time, since one read may bring 1,600 small publications,
each for many connections. The rest waits for the reactor's next turn, and later octets wait in the
kernel.

Only a malformed message ends the connection: it is the other end's fault. An exception of this end
while it handles a message is logged, and the bus stays.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...clock import monotonic_of
from ...net.transports import SocketWriter
from .coding import BusMessage
from .framing import LONGEST, Frames, MessageError, framed

BOUND = 16 * 1024 * 1024
"""The largest number of octets that may wait for the other end."""

_KEPT = 50
"""Octets of overhead for each queued frame."""

_AT_ONCE = 256 * 1024
"""Octets written before the next check that the other end still reads."""

_SLICE = 0.004
"""Seconds after which the remaining messages wait for the reactor's next turn."""

_log = Logger(namespace="wsservice")


@implementer(IPushProducer)
class Bus(Protocol):
    """One end of the bus. It calls `heard` with each incoming body, and `lost` once at the end.

    `bound` is the largest number of octets of publications that may wait for the other end, their
    overhead included.
    """

    transport: Any

    def __init__(
        self,
        reactor: Any,
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
        bound: int = BOUND,
    ) -> None:
        self._reactor = reactor
        self._heard = heard
        self._lost = lost
        self._bound = bound
        self._frames = Frames()
        self._seconds = monotonic_of(reactor)
        self._unheard: deque[bytes] = deque()
        self._hearing: IDelayedCall | None = None
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._scheduled = False
        self._paused = True  # True until it is connected
        self._over = False
        self._full = False
        #: The number of publications dropped since the queue was full.
        self.dropped = 0
        #: The name of the other end, in messages of the log.
        self.other = "the parent"
        #: A context manager around the handling of each read.
        self.together: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def waiting(self) -> int:
        """Return the octets that wait for the other end, without those in the kernel."""
        return self._size - _KEPT * len(self._queue)

    def say(self, message: BusMessage) -> None:
        """Send a message other than a publication. Raises `TooLongError`."""
        self._put(framed(message.body()))

    def hasten(self, message: BusMessage) -> None:
        """Send a message ahead of the queue, such as a ping, whose order does not matter.

        The other end may need more time for 16 MiB of small publications than a worker may be
        silent.
        """
        self._put(framed(message.body()), ahead=True)

    def publish(self, body: bytes) -> bool:
        """Send the body of a publication. Return False if it does not fit into the queue."""
        size = len(body)
        room = size <= LONGEST and (self._has_room(size) or self._has_room_now(size))
        if room:
            self._put(framed(body))
        else:
            self.dropped += 1
        if room is self._full:
            self._full = not room
            self._tell()
        return room

    def _has_room(self, size: int) -> bool:
        return not self._size or self._size + size <= self._bound

    def _has_room_now(self, size: int) -> bool:
        self.flush()
        return self._has_room(size)

    def _tell(self) -> None:
        if self._full:
            _log.warn("{other}: reads too slowly: publications to it are dropped", other=self.other)
        else:
            _log.info(
                "{other}: reads publications again; {count} messages were dropped so far",
                other=self.other,
                count=self.dropped,
            )

    def _put(self, frame: bytes, ahead: bool = False) -> None:
        if self._over:
            return
        if ahead:
            self._queue.appendleft(frame)
        else:
            self._queue.append(frame)
        self._size += len(frame) + _KEPT
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write the queue, as far as the other end takes it."""
        while self._queue and not self._paused:
            frames: list[bytes] = []
            size = 0
            while self._queue and size < _AT_ONCE:
                frames.append(self._queue.popleft())
                size += len(frames[-1])
            self._size -= size + _KEPT * len(frames)
            self._writer.write(b"".join(frames))

    # Methods that Twisted calls

    def connectionMade(self) -> None:
        self._writer = SocketWriter(self.transport)
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Stop writing: the other end does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Write again: the other end reads."""
        self._paused = False
        self.flush()

    def stopProducing(self) -> None:
        """Stop writing: the connection is over."""
        self._paused = True

    def dataReceived(self, data: bytes) -> None:
        try:
            self._unheard.extend(self._frames.feed(data))
        except MessageError as error:
            self._end_for(error)
            return
        if self._hearing is None:
            self._hear_some()

    def _hear_some(self) -> None:
        """Handle the messages that have come, for one slice of time."""
        until = self._seconds() + _SLICE
        try:
            with self.together():
                while self._unheard:
                    self._hear(self._unheard.popleft())
                    if self._seconds() >= until:
                        break
        except MessageError as error:
            self._hearing = None
            self._end_for(error)
            return
        except Exception:  # of a write at the end of the context manager
            self._own_fault()
        if self._unheard:
            if self._hearing is None:
                self.transport.pauseProducing()
            self._hearing = self._reactor.callLater(0, self._hear_some)
        elif self._hearing is not None:
            self._hearing = None
            self.transport.resumeProducing()

    def _end_for(self, error: MessageError) -> None:
        _log.error("malformed message on the bus: {error}", error=str(error))
        self._unheard.clear()
        self.transport.abortConnection()

    def _hear(self, body: bytes) -> None:
        try:
            self._heard(body)
        except MessageError:
            raise
        except Exception:
            self._own_fault()

    def _own_fault(self) -> None:
        _log.failure("a message from {other} cannot be handled", other=self.other)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        if self._hearing is not None:
            if self._hearing.active():
                self._hearing.cancel()
            self._hearing = None
            self._hear_last()
        self._paused = True
        self._queue.clear()
        self._size = 0
        self._lost()

    def _hear_last(self) -> None:
        """Handle all messages that came before the end, at most those of one read."""
        try:
            while self._unheard:
                self._hear(self._unheard.popleft())
        except MessageError as error:
            self._end_for(error)


class _Once(Factory):
    noisy = False

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def buildProtocol(self, addr: object) -> Bus:
        return self._bus


def connect(bus: Bus, end: socket.socket, reactor: Any) -> None:
    """Connect a bus over one end of a socket pair. The bus then owns that end."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _Once(bus))
    end.close()
