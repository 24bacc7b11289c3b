"""What came, until it is asked for: in order, within a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import Deferred, fail, succeed

from ..sending import OVERHEAD

Message: TypeAlias = str | bytes
"""Text or binary."""

LIMIT = 64 * 1024
"""Octets that wait to be asked for before the server is not read any more."""


class Inbox:
    """Messages for one reader.

    `pause` is called when enough waits to be asked for, `resume` when half of it was.
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
        #: Whether more than the limit waits, and half of that was not asked for yet.
        self.full = False

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        return self._error is not None

    def put(self, message: Message) -> None:
        """A message came."""
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.callback(message)
            return
        if self._discards and self._size >= self._limit:
            return
        self._waiting.append(message)
        self._size += len(message) + OVERHEAD
        if self._size >= self._limit and not self.full and not self._discards:
            self.full = True
            self._pause()

    def take(self) -> Message:
        """The next message, one of those that wait."""
        message = self._waiting.popleft()
        self._size -= len(message) + OVERHEAD
        if self.full and 2 * self._size <= self._limit:
            self.full = False
            self._resume()
        return message

    def get(self) -> Deferred[Message]:
        """Fires with the next message; cancelled, it takes none.

        Fails with the error given to `end` when there are no more. Raises
        `RuntimeError` where another still waits.
        """
        if self._reader is not None:
            raise RuntimeError("somebody waits for the next message already; let one reader do so")
        if self._waiting:
            return succeed(self.take())
        if self._error is not None:
            return fail(self._error())
        self._reader = Deferred(self._forget_reader)
        return self._reader

    def _forget_reader(self, _: Deferred[Message]) -> None:
        self._reader = None

    def discard_more(self) -> None:
        """Pause nobody from now on: what does not fit is thrown away."""
        self._discards = True
        if self.full:
            self.full = False
            self._resume()

    def end(self, error: Callable[[], Exception]) -> None:
        """No more will come. Who has asked for all there is gets an error, made for each."""
        self._error = error
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.errback(error())
