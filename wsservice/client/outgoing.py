"""What is to be sent: in order, and no faster than the server takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .talk import Talk

Message: TypeAlias = tuple[bytes, bool]
"""A payload, and whether it is binary."""


@implementer(IPushProducer)
class Outgoing:
    """Messages on their way to a connection, which says when it has enough."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._waiting = deque(messages)
        self._talk: Talk | None = None
        self._source: IPushProducer | None = None
        self._paused = True
        self._then: Callable[[], object] | None = None

    def begin(self, talk: Talk) -> None:
        """There is a connection to send to."""
        self._talk = talk
        talk.registerProducer(self, True)
        self.resumeProducing()

    @property
    def octets_waiting(self) -> int:
        """Octets of the messages that wait here."""
        return sum(len(payload) for payload, _ in self._waiting)

    def put(self, messages: Iterable[Message]) -> None:
        """Send these, after those that wait already."""
        self._waiting.extend(messages)
        self._send()

    def feed_from(self, source: IPushProducer) -> None:
        """What calls `put`: is told to pause while more than half of the send buffer waits."""
        self._source = source
        if self._paused:
            source.pauseProducing()

    def then(self, callback: Callable[[], object]) -> None:
        """Call this, once, when nothing waits here any more."""
        self._then = callback
        self._send()

    def stop(self) -> None:
        """Send no more: what waits is forgotten, and nothing is asked for."""
        self._waiting.clear()
        if self._source is not None:
            self._source.stopProducing()
            self._source = None

    def pauseProducing(self) -> None:
        self._paused = True
        if self._source is not None:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._send()
        if self._source is not None and not self._paused:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        self.stop()

    def _send(self) -> None:
        if self._talk is None:
            return
        with self._talk.together():
            while self._waiting and not self._paused:
                payload, is_binary = self._waiting.popleft()
                self._talk.sendMessage(payload, is_binary)
        if self._then is not None and not self._waiting:
            callback, self._then = self._then, None
            callback()
