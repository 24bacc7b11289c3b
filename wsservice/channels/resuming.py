"""Speak the subprotocol `wsservice.v1` on a server's connection, and send past messages first.

A client that speaks it gets envelopes. With a history it first gets the messages that it missed of
each channel, and then new ones. Any client may ask for the last messages first. Both are read from
the history no faster than the peer reads, and so are messages that are published meanwhile: a slow
peer has a position in the history, not a queue of its own.

Messages that were lost on their way to this process are fetched in the same way, for every client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ..protocol.framing import Framing
from ..protocol.sending import PreparedMessage, SendQueue, Sent
from .envelopes import SharedFrames, enveloped, of_gap, of_joining, of_message
from .gate import MemoryGate
from .history import PAGE, Missed
from .query import Latest, Position

_MOST_OCTETS = 128 * 1024
"""Octets of messages after which a connection waits for the next turn: a fraction of a millisecond.
A kernel may take megabytes for a peer that does not read."""

_MOST_PAGES = 16
"""The most pages that one connection gets in a turn, before other connections are served."""


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

    def left_behind(self, count: int) -> None:
        """Apply the slow-client policy, since past messages are gone that it had to be sent."""

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

    `channels` has the positions after which messages are missing, None for the current one, or
    `Latest` for the last messages. `queue` is the connection's. `done` is called at the end, also
    after a failure.
    """

    __slots__ = (
        "_catching_up",
        "_connection",
        "_done",
        "_missing",
        "_pages",
        "_pages_a_turn",
        "_queue",
        "_room",
    )

    def __init__(
        self,
        connection: Subscriber,
        queue: SendQueue,
        channels: Mapping[str, Position | Latest | None],
        done: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._missing = dict(channels)
        self._done = done
        self._catching_up: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._pages = 0
        self._pages_a_turn = 1

    def start(self) -> None:
        """Begin to fetch messages. Idempotent."""
        if self._catching_up is not None:
            return
        self._catching_up = Deferred.fromCoroutine(self._catch_up_all())
        self._catching_up.addErrback(self._could_not).addBoth(lambda _: self._done())

    def add(self, channels: Mapping[str, Position | Latest | None]) -> None:
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
        self._tell_joined(channel, position)
        return position

    def _tell_joined(self, channel: str, position: Position) -> None:
        if self._connection.speaks_envelopes:
            self._connection.send_envelope(of_joining(channel, position))

    async def _catch_up(self, channel: str, since: Position | Latest) -> None:
        """Send the missed messages of a channel, and new ones from then on."""
        is_promised = isinstance(since, Latest)
        place: Position | Latest | None = since
        while place is not None:
            if self._queue.waits:
                # Only a position is kept meanwhile. Messages are fetched when there is room.
                self._room = Deferred()
                await self._room
            # No variable here may refer to messages: they would stay in memory while it waits.
            place = await self._fetch_some(channel, place, is_promised)
            if place is not None:
                await self._give_way()

    async def _fetch_some(
        self, channel: str, since: Position | Latest, is_promised: bool
    ) -> Position | Latest | None:
        """Fetch a page and send it; return the last one's position, or None at the end."""
        gate: MemoryGate = self._connection.factory.gate
        must = not gate.is_open and await gate.wait()
        missed: Missed = await self._connection.factory.hub.missed(channel, since)
        if missed.entries and not (must or gate.is_open):
            return since  # many had their answers at once; it asks again when there is memory
        if isinstance(since, Latest):
            self._tell_joined(channel, _before(missed))
        elif missed.gap:
            self._tell_gap(channel, since, missed.position, is_promised)
        return self._send_some(channel, missed)

    def _tell_gap(self, channel: str, since: Position, place: Position, is_promised: bool) -> None:
        connection = self._connection
        if connection.speaks_envelopes:
            connection.send_envelope(of_gap(channel, place))
        elif is_promised:
            # Nothing in a plain message would show the hole.
            same = since.epoch == place.epoch
            connection.left_behind(place.offset - since.offset if same else place.offset)

    def _send_some(self, channel: str, missed: Missed) -> Position | None:
        """Send some missed messages; return the last one's position, or None at the end."""
        connection = self._connection
        hub = connection.factory.hub
        place = missed.position
        if not missed.entries:
            if missed.gap and not missed.whole:
                return place
            hub.catch_up(connection, channel, place)
            return None
        octets = 0
        with connection.factory.gathering.together():
            for index, entry in enumerate(missed.entries):
                if not connection.sendPreparedMessage(missed.frames(index)):
                    # The connection is closing. The hub then counts it as one that takes nothing.
                    hub.catch_up(connection, channel)
                    return None
                place = Position(entry.offset, entry.epoch)
                octets += len(entry.payload)
                if self._queue.waits or octets > _MOST_OCTETS:
                    break
        if missed.whole and place == missed.position and not self._queue.waits:
            hub.catch_up(connection, channel, place)
            return None
        if octets > _MOST_OCTETS:
            self._pages = self._pages_a_turn
        elif len(missed.entries) == PAGE or self._queue.waits:
            self._pages += 1
        return place

    async def _give_way(self) -> None:
        """Let other connections be served after a full page, or after several.

        A connection gets more pages in each turn, so that it catches up however many messages
        are published in one.
        """
        if self._pages >= self._pages_a_turn:
            self._pages = 0
            self._pages_a_turn = min(2 * self._pages_a_turn, _MOST_PAGES)
            await self._connection.factory.gate.next_turn()


def _before(missed: Missed) -> Position:
    """Return the position before the first message, or the current one without messages."""
    if not missed.entries:
        return missed.position
    return Position(missed.entries[0].offset - 1, missed.position.epoch)
