"""One end of the connection on which parent and worker speak.

What is said in one turn of the reactor leaves in one write at its end. What waits
for an end that does not read is bounded: publications that find no room are
dropped and counted; all else is said in any case, since there is little of it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..transports import SocketWriter
from .messages import LONGEST, Frames, MessageError, framed, said

BOUND = 16 * 1024 * 1024
"""Octets that may wait for the other end."""

_AT_ONCE = 256 * 1024
"""Octets that are written before it is asked whether the other end still reads."""

_log = Logger(namespace="wsservice")


@implementer(IPushProducer)
class Bus(Protocol):
    """One end. `heard` is called with each body that comes, `lost` once when it is over.

    `bound` is how many octets of publications may wait for the other end.
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
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._scheduled = False
        self._paused = True  # until it is connected
        self._over = False
        self._full = False
        #: Publications that found no room.
        self.dropped = 0
        #: Who is at the other end, for people.
        self.other = "the parent"
        #: What a read brings is heard within it.
        self.together: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def waiting(self) -> int:
        """Octets that wait for the other end, but for what the kernel has."""
        return self._size

    def say(self, what: str, **members: Any) -> None:
        """Say something that is no publication."""
        self._put(framed(said(what, **members)))

    def answer(self, body: bytes) -> None:
        """Say a body that the other end has asked for."""
        self._put(framed(body))

    def publish(self, body: bytes) -> bool:
        """Say the body of a publication; False where there is no room for it."""
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
            _log.warn(
                "{other}: takes less than is published: some of it is dropped", other=self.other
            )
        else:
            _log.info(
                "{other}: takes again what is published; {count} messages were dropped so far",
                other=self.other,
                count=self.dropped,
            )

    def _put(self, frame: bytes) -> None:
        if self._over:
            return
        self._queue.append(frame)
        self._size += len(frame)
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as the other end takes it."""
        while self._queue and not self._paused:
            frames: list[bytes] = []
            size = 0
            while self._queue and size < _AT_ONCE:
                frames.append(self._queue.popleft())
                size += len(frames[-1])
            self._size -= size
            self._writer.write(b"".join(frames))

    # What Twisted calls

    def connectionMade(self) -> None:
        self._writer = SocketWriter(self.transport)
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """The other end does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It reads again."""
        self._paused = False
        self.flush()

    def stopProducing(self) -> None:
        """It is over."""
        self._paused = True

    def dataReceived(self, data: bytes) -> None:
        try:
            with self.together():
                for body in self._frames.feed(data):
                    self._heard(body)
        except MessageError as error:
            _log.error("what came on the bus is no message: {error}", error=str(error))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._paused = True
        self._queue.clear()
        self._size = 0
        self._lost()


class _Once(Factory):
    noisy = False

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def buildProtocol(self, addr: object) -> Bus:
        return self._bus


def connect(bus: Bus, end: socket.socket, reactor: Any) -> None:
    """Have a bus speak over an end of a socket pair, which it takes over."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _Once(bus))
    end.close()
