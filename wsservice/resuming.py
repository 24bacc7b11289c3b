"""The subprotocol `wsservice.v1` on a server's connection.

Who speaks it gets envelopes, and, where a history is kept, first what it missed
of each channel, then what comes. What it missed is read from the history no
faster than the peer reads, and what is published meanwhile is read from there
too: a slow peer has a place in the history, not a queue of its own. Who speaks it
or not: where some of a channel was lost on its way here, it is fetched in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from .channels import Position, asked_for
from .envelopes import (
    SUBPROTOCOL,
    Envelope,
    Published,
    enveloped,
    message_of,
    of_gap,
    of_joining,
    of_message,
)
from .history import Missed
from .sending import PreparedMessage, SendQueue, Sent

_NOTHING: MappingProxyType[str, Position] = MappingProxyType({})


class Resuming:
    """A connection that may be on several channels, and may come back. To be mixed in.

    Before `Connection`, whose names it uses.
    """

    factory: Any
    channel: str
    _queue: SendQueue
    _as_is: bool
    _seconds: Callable[[], float]
    _callback_failed: Callable[[Failure], None]
    sendPreparedMessage: Callable[[PreparedMessage], Sent]

    # Autobahn's
    websocket_protocol_in_use: str | None
    _perMessageCompress: Any

    # Few connections have any of these: the others have no attribute of their own.
    _more_channels: tuple[str, ...] = ()
    _since: dict[str, Position] | MappingProxyType[str, Position] = _NOTHING
    _missing: dict[str, Position | None] | None = None
    _catching_up: Deferred[None] | None = None
    _room: Deferred[None] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The path's channel, and those that the query names: whose messages come here."""
        return (self.channel, *self._more_channels)

    def resumeProducing(self) -> None:
        """The transport has sent all it had, so the peer reads."""
        super().resumeProducing()  # type: ignore[misc]
        if self._room is not None and not self._queue.waits:
            room = self._room
            del self._room
            room.callback(None)

    def _take_query(self, query: str, offered: Sequence[str]) -> None:
        """Take note of what a query asks for, and these subprotocols. Raises `ChannelError`."""
        asked = asked_for(query, self.channel, SUBPROTOCOL in offered)
        if asked.channels:
            self._more_channels = asked.channels
        if asked.since:
            self._since = asked.since

    def _negotiated(self, chosen: str | None, offered: Sequence[str]) -> str | None:
        """The subprotocol to speak, where the behaviour chose one or none."""
        if chosen is None and SUBPROTOCOL in offered:
            chosen = SUBPROTOCOL
        if chosen == SUBPROTOCOL:
            self._as_is = False
        return chosen

    @property
    def _enveloping(self) -> bool:
        return self.websocket_protocol_in_use == SUBPROTOCOL

    def _framed(
        self, payload: bytes, isBinary: bool, fragment_size: int | None, compressed: bool
    ) -> bytes:
        if self._enveloping:
            envelope = of_message(self.channel, payload, isBinary, self._seconds())
            payload, binary = envelope, False
        else:
            binary = isBinary
        frame: bytes = super()._framed(  # type: ignore[misc]
            payload, binary, fragment_size, compressed
        )
        return frame

    def _frame_of(self, message: PreparedMessage) -> bytes:
        if self._enveloping:
            # Nearly always it is one of many connections that are sent the same.
            if type(message) is Published:
                message = message.envelope
            else:
                message = enveloped(message, self.channel, self._seconds())
            if self._perMessageCompress is None:
                return message.plain
        frame: bytes = super()._frame_of(message)  # type: ignore[misc]
        return frame

    def _join(self) -> None:
        """The connection is open: get what is published on its channels, after what it missed."""
        hub = self.factory.hub
        if not self._enveloping:
            hub.join(self)
        elif not hub.has_history:
            hub.join(self)
            for channel in self._since:
                self._say(of_gap(channel, None))
        else:
            hub.join(self, behind=True)
            self._fetch({channel: self._since.get(channel) for channel in self.channels})

    def fall_behind(self, channel: str, since: Position) -> None:
        """As the hub has it: nothing comes until all is fetched that was missed since."""
        self._fetch({channel: since})

    def tell_gap(self, channel: str) -> None:
        """Say that some of a channel may be gone, and that nobody knows where it goes on."""
        if self._enveloping:
            self._say(of_gap(channel, None))

    def _fetch(self, channels: Mapping[str, Position | None]) -> None:
        """Catch up on channels, each from a position, or from where it is now."""
        if self._missing is not None:
            self._missing.update(channels)
            return
        self._missing = dict(channels)
        catching_up = Deferred.fromCoroutine(self._catch_up_all(self._missing))
        self._catching_up = catching_up
        catching_up.addErrback(self._could_not).addBoth(self._caught_up)

    def _stop_catching_up(self) -> None:
        """The connection is over."""
        if self._catching_up is not None:
            self._catching_up.cancel()

    def _could_not(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._callback_failed(failure)

    def _caught_up(self, _: object) -> None:
        # An attribute of the class is in the place of each again.
        for name in ("_catching_up", "_missing", "_room", "_since"):
            self.__dict__.pop(name, None)

    async def _catch_up_all(self, missing: dict[str, Position | None]) -> None:
        while missing:
            channel = next(iter(missing))
            since = missing.pop(channel)
            if since is None:
                since = await self._begin_on(channel)
            await self._catch_up(channel, since)

    async def _begin_on(self, channel: str) -> Position:
        """Tell where a channel is, so that who hears nothing of it can come back to it too."""
        position: Position = await maybeDeferred(self.factory.hub.position, channel)
        self._say(of_joining(channel, position))
        return position

    async def _catch_up(self, channel: str, since: Position) -> None:
        """Send what was missed of a channel, and from then on what comes."""
        place: Position | None = since
        while place is not None:
            if self._queue.waits:
                # With nothing but a place: what is to be sent then is asked for then.
                self._room = Deferred()
                await self._room
            place = await self._send_some(channel, place)

    async def _send_some(self, channel: str, since: Position) -> Position | None:
        """Send some of what was missed: up to where, or None where no more is to be sent."""
        hub = self.factory.hub
        missed: Missed = await maybeDeferred(hub.missed, channel, since)
        place = missed.position
        if missed.gap:
            if self._enveloping:
                self._say(of_gap(channel, place))
            return place
        if not missed.entries:
            hub.catch_up(self, channel, place)
            return None
        with self.factory.gathering.together():
            for entry in missed.entries:
                if not self.sendPreparedMessage(message_of(entry)):
                    # It is closing, and one of those that a message is not handed to.
                    hub.catch_up(self, channel)
                    return None
                place = Position(entry.offset, entry.epoch)
                if self._queue.waits:
                    break
        # The others have their turn.
        await deferLater(self.factory.reactor, 0)
        return place

    def _say(self, envelope: bytes) -> Sent:
        return self.sendPreparedMessage(Envelope(envelope))
