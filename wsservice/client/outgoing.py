"""What is to be sent: in order, no faster than it is taken, over whichever connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from twisted.internet.interfaces import IPushProducer

from .outbox import Outbox, Payload
from .talk import Talk


class Outgoing:
    """Messages on their way to a connection, or to the one after it.

    `limit` is how many octets are kept before their source is told to pause, 0
    for any number. `sent` is told how many more messages a connection took.
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
        """Whether so much waits that no more is wanted."""
        return self._outbox.full

    @property
    def octets_waiting(self) -> int:
        """Octets of the messages that wait here."""
        return self._outbox.octets

    def begin(self, talk: Talk) -> None:
        """There is a connection to send to."""
        self._talk = talk
        with self._together():
            self._outbox.begin(talk)

    def go_on(self) -> None:
        """It has room."""
        with self._together():
            self._outbox.go_on()

    def lost(self) -> None:
        """It is over: what waits is for the next."""
        self._talk = None
        self._outbox.lost()

    def put(self, messages: Iterable[Payload]) -> None:
        """Send these, after those that wait already."""
        with self._together():
            self._outbox.put(messages)

    def feed_from(self, source: IPushProducer) -> None:
        """What calls `put`: is told to pause while too much waits."""
        self._source = source
        if self._outbox.full:
            source.pauseProducing()

    def then(self, callback: Callable[[], object]) -> None:
        """Call this, once, when nothing waits here any more."""
        self._outbox.empty().addCallback(lambda _: callback())

    def stop(self) -> None:
        """Send no more: what waits is forgotten, and nothing is asked for."""
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
