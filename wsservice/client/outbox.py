"""Queue messages to send, while there is no connection or it has enough."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, succeed

from ..protocol.sending import OVERHEAD_OCTETS

Payload: TypeAlias = tuple[bytes, bool]
"""The payload of a message, and True if it is binary."""


def messages(count: int) -> str:
    """Return a number of messages in words."""
    return "1 message" if count == 1 else f"{count} messages"


class Outbox:
    """Queue messages for one connection after another, in order.

    A message leaves the queue when the connection's transport takes it at once, so that all others
    are still here if the connection is lost. When more than `limit` octets are queued, `pause` is
    called, and `resume` when half of them are sent; 0 is no limit. `sent` is called with the number
    of messages that have just left.
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
        # A `ClientProtocol`, or another object with its `sendMessage` and `has_room`.
        self._line: Any = None
        self._emptied: list[Deferred[None]] = []
        #: True from the time the limit is passed until half of it is sent.
        self.full = False

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def octets(self) -> int:
        """Octets of the queued messages."""
        return self._size - OVERHEAD_OCTETS * len(self._kept)

    def put(self, payloads: Iterable[Payload]) -> None:
        """Queue messages, and send them if the connection has room."""
        for each in payloads:
            self._kept.append(each)
            self._size += len(each[0]) + OVERHEAD_OCTETS
        self._send()
        if 0 < self._limit < self._size and not self.full:
            self.full = True
            self._pause()

    def begin(self, line: Any) -> None:
        """Send the queued messages on a new connection."""
        self._line = line
        self.go_on()

    def go_on(self) -> None:
        """Send more: the connection has room."""
        self._send()
        if not self._kept:
            emptied, self._emptied = self._emptied, []
            for each in emptied:
                each.callback(None)
        if self.full and 2 * self._size <= self._limit:
            self.full = False
            self._resume()

    def lost(self) -> None:
        """Keep messages until the next connection: this one is over."""
        self._line = None

    def forget(self) -> None:
        """Drop the queued messages."""
        self._kept.clear()
        self._size = 0

    def empty(self) -> Deferred[None]:
        """Fire when the queue is empty. Fails with the error given to `end`."""
        if not self._kept:
            return succeed(None)
        emptied: Deferred[None] = Deferred(self._emptied.remove)
        self._emptied.append(emptied)
        return emptied

    def end(self, error: Callable[[], Exception]) -> None:
        """End: `error` makes an error for each Deferred of `empty` that still waits."""
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
        # `has_room` is read before each message: one large message may fill the send buffer, and
        # the slow-client policy would then apply to the next.
        line, kept = self._line, self._kept
        while line is not None and kept and line.has_room:
            payload, is_binary = kept[0]
            if not line.sendMessage(payload, is_binary):
                return
            kept.popleft()
            self._size -= len(payload) + OVERHEAD_OCTETS
