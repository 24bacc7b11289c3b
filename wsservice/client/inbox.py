"""Queue received messages for one reader, within a bound."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Self, TypeAlias

from twisted.internet.defer import Deferred, fail, succeed

from ..errors import ConnectionClosed
from ..protocol.sending import OVERHEAD_OCTETS

Message: TypeAlias = str | bytes
"""Text or binary."""

LIMIT = 64 * 1024
"""Octets of queued messages after which the server is not read any more."""


def _octets(message: Message) -> int:
    """Return the octets that a message takes in memory: up to four for each character of text."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return sys.getsizeof(message)


class Inbox:
    """Queue messages for one reader.

    `pause` is called when `limit` octets are queued, and `resume` when half of them are read.
    """

    def __init__(
        self, pause: Callable[[], object], resume: Callable[[], object], limit: int = LIMIT
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._reader: Deferred[Message] | None = None
        self._error: Callable[[], Exception] | None = None
        self._discards = False
        #: The number of messages that were dropped after `discard_more`.
        self.discarded = 0
        #: True from the time the limit is reached until half of it is read.
        self.full = False

    @property
    def ready(self) -> bool:
        """True if `take` has a message."""
        return bool(self._waiting)

    @property
    def ended(self) -> bool:
        """True if no more messages will come."""
        return self._error is not None

    def put(self, message: Message) -> None:
        """Add a message, or hand it to the reader that waits."""
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.callback(message)
            return
        if self._discards and self._size >= self._limit:
            self.discarded += 1
            return
        self._waiting.append(message)
        self._size += _octets(message) + OVERHEAD_OCTETS
        if self._size >= self._limit and not self.full and not self._discards:
            self.full = True
            self._pause()

    def take(self) -> Message:
        """Return the next message. One must be queued: see `ready`."""
        message = self._waiting.popleft()
        self._size -= _octets(message) + OVERHEAD_OCTETS
        if self.full and 2 * self._size <= self._limit:
            self.full = False
            self._resume()
        return message

    def get(self) -> Deferred[Message]:
        """Fire with the next message. If cancelled, no message is lost.

        Fails with the error given to `end` when no more messages come. Raises `RuntimeError` if
        another `get` still waits.
        """
        if self._reader is not None:
            raise RuntimeError("another call waits for the next message; use one reader")
        if self._waiting:
            return succeed(self.take())
        if self._error is not None:
            return fail(self._error())
        self._reader = Deferred(self._forget_reader)
        return self._reader

    def _forget_reader(self, _: Deferred[Message]) -> None:
        self._reader = None

    def discard_more(self) -> None:
        """Never pause again: drop messages beyond the limit."""
        self._discards = True
        if self.full:
            self.full = False
            self._resume()

    def end(self, error: Callable[[], Exception]) -> None:
        """Add no more messages. `error` makes the error of each `get` after the last message."""
        self._error = error
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.errback(error())


class Messages:
    """Makes `async for` read an inbox, up to an end in order. A mixin for what has one."""

    _inbox: Inbox

    def recv(self) -> Deferred[Message]:
        """Fire with the next message."""
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        if self._inbox.ready:
            return self._inbox.take()
        try:
            return await self.recv()
        except ConnectionClosed as closed:
            if closed.in_order:
                raise StopAsyncIteration from None
            raise
