"""What is to be sent, kept while there is no connection, or one that has enough."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, succeed

from ..sending import OVERHEAD, Sent

Payload: TypeAlias = tuple[bytes, bool]
"""Of a message, and whether it is binary."""


def messages(count: int) -> str:
    """So many messages, in words."""
    return "1 message" if count == 1 else f"{count} messages"


class Outbox:
    """Messages for one connection, or for one after another, in order.

    One is handed over when the connection's transport takes it at once, so that
    what waits is still here when the connection is lost. `limit` is how many
    octets are kept before `pause` is called, 0 for any number; `resume` is when
    half of it was sent. `sent` is told how many more messages were handed over.
    """

    def __init__(
        self,
        limit: int,
        *,
        pause: Callable[[], object],
        resume: Callable[[], object],
        sent: Callable[[int], object],
    ) -> None:
        self._limit = limit
        self._pause = pause
        self._resume = resume
        self._sent = sent
        self._kept: deque[Payload] = deque()
        self._size = 0
        # A `ClientProtocol`, or whatever has its `sendMessage` and `has_room`.
        self._line: Any = None
        self._emptied: list[Deferred[None]] = []
        #: Whether more than the limit was kept, and half of that was not sent yet.
        self.full = False

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def octets(self) -> int:
        """Octets of the messages that are kept."""
        return self._size - OVERHEAD * len(self._kept)

    def put(self, payloads: Iterable[Payload]) -> None:
        """Send these, now or later."""
        for each in payloads:
            self._kept.append(each)
            self._size += len(each[0]) + OVERHEAD
        self._send()
        if 0 < self._limit < self._size and not self.full:
            self.full = True
            self._pause()

    def begin(self, line: Any) -> None:
        """There is a connection: send what is kept."""
        self._line = line
        self.go_on()

    def go_on(self) -> None:
        """The connection has room."""
        self._send()
        if not self._kept:
            emptied, self._emptied = self._emptied, []
            for each in emptied:
                each.callback(None)
        if self.full and 2 * self._size <= self._limit:
            self.full = False
            self._resume()

    def lost(self) -> None:
        """The connection is over."""
        self._line = None

    def forget(self) -> None:
        """Do not send what is kept."""
        self._kept.clear()
        self._size = 0

    def empty(self) -> Deferred[None]:
        """Fires when nothing is kept any more. Fails with the error given to `end`."""
        if not self._kept:
            return succeed(None)
        emptied: Deferred[None] = Deferred(self._emptied.remove)
        self._emptied.append(emptied)
        return emptied

    def end(self, error: Callable[[], Exception]) -> None:
        """Nothing will be sent any more: who waits for that gets an error, made for each."""
        emptied, self._emptied = self._emptied, []
        for each in emptied:
            each.errback(error())

    def _send(self) -> None:
        before = len(self._kept)
        try:
            self._hand_over()
        finally:
            count = before - len(self._kept)
            if count:
                self._sent(count)

    def _hand_over(self) -> None:
        # Asked before each: one that is large may fill the send buffer by itself, and
        # the next would be taken for too much.
        line, kept = self._line, self._kept
        while line is not None and kept and line.has_room:
            payload, is_binary = kept[0]
            if line.sendMessage(payload, is_binary) is Sent.CLOSED:
                return
            kept.popleft()
            self._size -= len(payload) + OVERHEAD
