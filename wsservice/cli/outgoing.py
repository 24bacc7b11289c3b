"""Send messages in order, no faster than the connections take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from twisted.internet.interfaces import IPushProducer

from ..client.outbox import Outbox, Payload
from .talk import Talk


class Outgoing:
    """Messages to send, on one connection or the next.

    When more than `limit` octets are queued, the source is told to pause; 0 is no limit. `sent` is
    called with the number of messages that a connection has just taken.
    """

    def __init__(
        self, messages: Iterable[Payload], limit: int, sent: Callable[[int], object]
    ) -> None:
        self._talk: Talk | None = None
        self._source: IPushProducer | None = None
        self._outbox = Outbox(limit, pause=self._pause, resume=self._resume, sent=sent)
        self._outbox.put(messages)

    def __len__(self) -> int:
        return len(self._outbox)

    @property
    def is_full(self) -> bool:
        """True if more than `limit` octets are queued."""
        return self._outbox.full

    @property
    def octets_waiting(self) -> int:
        """Octets of the queued messages."""
        return self._outbox.octets

    def begin(self, talk: Talk) -> None:
        """Send on this new connection."""
        self._talk = talk
        with self._together():
            self._outbox.begin(talk)

    def go_on(self) -> None:
        """Send more: the connection has room."""
        with self._together():
            self._outbox.go_on()

    def lost(self) -> None:
        """Keep the queued messages for the next connection: this one is over."""
        self._talk = None
        self._outbox.lost()

    def put(self, messages: Iterable[Payload]) -> None:
        """Send messages after those that are queued."""
        with self._together():
            self._outbox.put(messages)

    def feed_from(self, source: IPushProducer) -> None:
        """Tell `source`, which calls `put`, to pause while the queue is full."""
        self._source = source
        if self._outbox.full:
            source.pauseProducing()

    def then(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, when the queue is empty."""
        self._outbox.empty().addCallback(lambda _: callback())

    def stop(self) -> None:
        """Drop the queued messages, and stop the source."""
        self._outbox.forget()
        if self._source is not None:
            self._source.stopProducing()
            self._source = None

    def _together(self) -> AbstractContextManager[None]:
        return nullcontext() if self._talk is None else self._talk.together()

    def _pause(self) -> None:
        if self._source is not None:
            self._source.pauseProducing()

    def _resume(self) -> None:
        if self._source is not None:
            self._source.resumeProducing()
