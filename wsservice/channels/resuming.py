"""Speak the subprotocol `wsservice.v1` on a server's connection.

A client that speaks it gets envelopes. With a history it first gets the messages that it missed of
each channel, and then new ones. Missed messages are read from the history no faster than the peer
reads, and so are messages that are published meanwhile: a slow peer has a position in the history,
not a queue of its own.

Messages that were lost on their way to this process are fetched in the same way, for every client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ..protocol.framing import Framing
from ..protocol.sending import PreparedMessage, SendQueue, Sent
from .envelopes import SharedFrames, enveloped, of_gap, of_joining, of_message
from .history import Missed
from .query import Position


class OnChannel(Protocol):
    """A connection on a channel: that of the messages that name no other."""

    channel: str


class Subscriber(Protocol):
    """A connection that catches up on channels."""

    factory: Any

    @property
    def speaks_envelopes(self) -> bool:
        """True if its client gets envelopes."""

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> Sent:
        """Send a message."""

    def send_envelope(self, envelope: bytes) -> Sent:
        """Send an envelope that must not be left out, however slowly the peer reads."""

    def callback_failed(self, failure: Failure) -> None:
        """Log a failure, and fail the connection."""


class Enveloping(Framing):
    """Puts messages into envelopes, for a client that speaks `wsservice.v1`.

    `extension` is as for `Framing`, `wall` is the clock of the time of day.
    """

    __slots__ = ("_connection", "_wall")

    def __init__(self, connection: OnChannel, extension: Any, wall: Callable[[], float]) -> None:
        super().__init__(extension, masks=False)
        self._connection = connection
        self._wall = wall

    def framed(
        self, payload: bytes, is_binary: bool, fragment_size: int | None, compressed: bool
    ) -> bytes:
        """Return a message in an envelope, as one frame or several."""
        envelope = of_message(self._connection.channel, payload, is_binary, self._wall())
        return super().framed(envelope, False, fragment_size, compressed)

    def frame_of(self, message: PreparedMessage) -> bytes:
        """Return a prepared message in an envelope, as one frame."""
        # First, the common case: a broadcast, whose envelope is made once for all connections.
        if type(message) is SharedFrames:
            message = message.envelope
        else:
            message = enveloped(message, self._connection.channel, self._wall())
        return message.plain if self._extension is None else super().frame_of(message)


class CatchUp:
    """Sends a connection the messages of channels that it missed, and new ones from then on.

    `channels` has the positions after which messages are missing, None for the current one. `queue`
    is the connection's. `done` is called at the end, also after a failure.
    """

    __slots__ = ("_catching_up", "_connection", "_done", "_missing", "_queue", "_room")

    def __init__(
        self,
        connection: Subscriber,
        queue: SendQueue,
        channels: Mapping[str, Position | None],
        done: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._missing = dict(channels)
        self._done = done
        self._catching_up: Deferred[None] | None = None
        self._room: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to fetch messages."""
        self._catching_up = Deferred.fromCoroutine(self._catch_up_all())
        self._catching_up.addErrback(self._could_not).addBoth(lambda _: self._done())

    def add(self, channels: Mapping[str, Position | None]) -> None:
        """Catch up on more channels."""
        self._missing.update(channels)

    def stop(self) -> None:
        """Stop fetching messages, since the connection is over."""
        if self._catching_up is not None:
            self._catching_up.cancel()

    def has_room(self) -> None:
        """Go on if the queue has room again."""
        if self._room is not None and not self._queue.waits:
            room, self._room = self._room, None
            room.callback(None)

    def _could_not(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._connection.callback_failed(failure)

    async def _catch_up_all(self) -> None:
        while self._missing:
            channel = next(iter(self._missing))
            since = self._missing.pop(channel)
            if since is None:
                since = await self._begin_on(channel)
            await self._catch_up(channel, since)

    async def _begin_on(self, channel: str) -> Position:
        """Tell the client the position of a channel, and return it.

        With it a client can come back even if it has got no message.
        """
        position: Position = await self._connection.factory.hub.position(channel)
        self._connection.send_envelope(of_joining(channel, position))
        return position

    async def _catch_up(self, channel: str, since: Position) -> None:
        """Send the missed messages of a channel, and new ones from then on."""
        place: Position | None = since
        while place is not None:
            if self._queue.waits:
                # Only a position is kept meanwhile. Messages are fetched when there is room.
                self._room = Deferred()
                await self._room
            place = await self._send_some(channel, place)

    async def _send_some(self, channel: str, since: Position) -> Position | None:
        """Send some missed messages; return the last one's position, or None at the end."""
        connection = self._connection
        hub = connection.factory.hub
        missed: Missed = await hub.missed(channel, since)
        place = missed.position
        if missed.gap:
            if connection.speaks_envelopes:
                connection.send_envelope(of_gap(channel, place))
            return place
        if not missed.entries:
            hub.catch_up(connection, channel, place)
            return None
        with connection.factory.gathering.together():
            for index, entry in enumerate(missed.entries):
                if not connection.sendPreparedMessage(missed.frames(index)):
                    # The connection is closing. The hub then counts it as one that takes nothing.
                    hub.catch_up(connection, channel)
                    return None
                place = Position(entry.offset, entry.epoch)
                if self._queue.waits:
                    break
        # In the next turn, so that other connections are served in between.
        await deferLater(connection.factory.reactor, 0)
        return place
