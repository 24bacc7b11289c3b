"""Run one connection on Autobahn's protocol, made safe and fast, for servers and clients.

`reading` takes octets and passes messages to `onMessage`. `sending` holds one bounded queue for
everything that is sent. `events` joins them: it opens the connection, calls the behaviour, and
makes sure that the connection ends. This module has what a behaviour may do.

See docs/decisions/autobahn-and-twisted.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from autobahn.exception import Disconnected
from twisted.internet.defer import Deferred, maybeDeferred

from ..config.close_codes import CloseCode, checked_close
from ..metrics import Traffic
from . import frames
from .events import Events
from .framing import Framing, new_key
from .owner import CLOSED, CLOSING, CONNECTING, OPEN, ClosingOwner, Hold, Owner, names_of
from .sending import Kind, PreparedMessage, Sent, no_payload
from .slowness import Slowness

_MESSAGE = Kind.MESSAGE
_PING, _PONG = 0x89, 0x8A
_CONTROL_OCTETS = 125
"""Octets of the longest payload of a control frame (RFC 6455, 5.5)."""


class Connection(Events):
    """A WebSocket connection, at either end. A mixin to stand before Autobahn's own class.

    Each callback of a behaviour is called when the one before is done, be it a plain method, a
    coroutine, or a method that returns a Deferred. While too much waits for a callback, the peer is
    not read. `onPing` and `onPong` do not wait. `onClose` is called once for each connection whose
    `onConnect` was called.
    """

    __slots__ = ()

    _names_of_parts: ClassVar = names_of(Owner, ClosingOwner)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Without an underscore, since the parts are other objects. A behaviour that gave one of
        # them another meaning would break its connections in ways that are hard to find.
        taken = sorted(cls._names_of_parts & vars(cls).keys())
        if taken and not cls.__module__.startswith("wsservice."):
            raise TypeError(
                f"{cls.__qualname__} has {', '.join(taken)}: a connection needs that name itself;"
                " choose another"
            )

    @property
    def rtt(self) -> float | None:
        """Seconds from the last ping of `--ping-interval` to its answer, None before the first."""
        return None if self._keep_alive is None else self._keep_alive.rtt

    @property
    def keepalive_timed_out(self) -> bool:
        """True if the connection was failed because the peer gave no sign of life."""
        return self._keep_alive is not None and self._keep_alive.timed_out

    @property
    def failed_with(self) -> int | None:
        """The code of the close frame that told the peer that the connection failed."""
        return None if self._closing_handshake is None else self._closing_handshake.failed_with

    @property
    def peer_finished(self) -> bool:
        """True if the peer has ended its side of TCP."""
        return self._closing_handshake is not None and self._closing_handshake.peer_finished

    def sendMessage(
        self,
        payload: Any,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> Sent:
        """Send a message, and return what became of it: true if it is on its way.

        The result is false if the connection is closing or closed, or if its peer reads so slowly
        that too much waits already. Both are ordinary, and not errors.

        `payload` is bytes: UTF-8 for text, anything if `isBinary` is true. `fragmentSize` is the
        most octets of a frame, None for one frame. `doNotCompress` sends the message uncompressed.
        `sync` is Autobahn's, and has no effect. Raises `TypeError` for a payload that is not bytes,
        and `autobahn.exception.Disconnected` if the connection is not open yet.
        """
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        if self.state != OPEN:
            if self.state in (CLOSING, CLOSED):
                return Sent.CLOSED
            raise Disconnected("a message can be sent once the connection is open, in onOpen")
        framing = self._framing
        if framing is None and not fragmentSize:
            key = new_key(True) if self._masks else b""
            frame = frames.encode(0x82 if isBinary else 0x81, payload, key)
        else:
            framing = framing or Framing(None, self._masks)
            frame = framing.framed(payload, isBinary, fragmentSize, not doNotCompress)
        queue = self._queue
        return self._put_late(frame) if queue.waits else queue.put(frame, _MESSAGE)

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> Sent:  # type: ignore[override]
        """Send a message that the factory's `prepareMessage` made, and return what became of it.

        It is compressed once for all connections, so it refers to no earlier message of this one.
        """
        if self.state != OPEN:
            return Sent.CLOSED
        queue = self._queue
        framing = self._framing
        frame = preparedMsg.plain if framing is None else framing.frame_of(preparedMsg)
        return self._put_late(frame) if queue.waits else queue.put(frame, _MESSAGE)

    def _put_late(self, frame: bytes) -> Sent:
        """Queue the frame of a message behind others, if there is room for all of it."""
        # Room is looked for only now, since the frame's size is not the payload's: it may be
        # compressed, or have an envelope. A compressed message may be left out after compression:
        # either no other refers to it, or the connection is closed.
        if self._queue.full and not self._make_room(len(frame)):
            return Sent.SLOW
        outcome = self._queue.put(frame, _MESSAGE)
        if self._queue.half_full:
            self._output_waits()
        if self.factory.budget.is_exceeded:
            self.factory.budget.make_room()
        return outcome if self.state == OPEN else Sent.SLOW

    def traffic(self) -> Traffic:
        """Return the messages and octets received and sent so far, and the octets that wait."""
        queue = self._queue
        return Traffic(
            self._reader.messages_received,
            queue.messages_sent,
            self._reader.octets_received,
            queue.octets_sent,
            queue.octets,
        )

    def pause_reading(self) -> None:
        """Stop reading the peer until `resume_reading`. Octets that it sends meanwhile wait."""
        self._reader.hold(Hold.BEHAVIOUR)

    def resume_reading(self) -> None:
        """Read the peer again, after `pause_reading`."""
        self._reader.release(Hold.BEHAVIOUR)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a push producer while more than half of the send buffer waits.

        Raises `TypeError` unless `streaming` is true.
        """
        if not streaming:
            raise TypeError("only push producers can be registered with a connection")
        self._slow().set_producer(producer)
        if self._queue.half_full:
            self._output_waits()

    def unregisterProducer(self) -> None:
        if self._slowness is not None:
            self._slowness.set_producer(None)

    def _slow(self) -> Slowness:
        if self._slowness is None:
            self._slowness = Slowness()
        return self._slowness

    def _make_room(self, size: int) -> bool:
        """Return True if octets can be queued, after messages were left out."""
        return self._slow().make_room(self, self._queue, self._common, size)

    def sendPing(self, payload: bytes | None = None) -> Sent:  # type: ignore[override]
        """Send a ping with at most 125 octets, and return what became of it, as `sendMessage`.

        Raises `TypeError` for a payload that is not bytes, `ValueError` for a longer one.
        """
        return self._send_control(_PING, payload or b"", Kind.OTHER)

    def sendPong(self, payload: bytes | None = None) -> Sent:
        """Send a pong like `sendPing`. It replaces a pong that still waits for a slow peer."""
        return self._send_control(_PONG, payload or b"", Kind.PONG)

    def _send_control(self, first: int, payload: bytes, kind: Kind) -> Sent:
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        if len(payload) > _CONTROL_OCTETS:
            raise ValueError(
                f"{len(payload)} octets are not allowed; a ping or pong has {_CONTROL_OCTETS}"
            )
        if self.state != OPEN:
            return Sent.CLOSED
        return self._queue.put_other(frames.encode(first, payload, new_key(self._masks)), kind)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> Any:
        """Close the connection: send a close frame with a code, behind all earlier messages.

        `code` is 1000 to 1003, 1007 to 1009, 1011 to 1014, or 3000 to 4999 (RFC 6455, 7.4,
        and the IANA registry). `reason` has at most 123 octets of UTF-8. The peer has
        `--close-timeout` to answer. `onClose` is called last.

        Returns True if this call closed the connection, False if it is closing or closed already.
        Raises `ValueError` for another code or reason, and `autobahn.exception.Disconnected` if the
        connection is not open yet.
        """
        octets = checked_close(code, reason)
        return self._send_close(int(code), octets)

    def sendClose(self, code: int | None = None, reason: str | None = None) -> Any:
        """Close the connection like `close`, by Autobahn's name, with or without a code.

        Raises `ValueError` as `close` does, and for a reason without a code.
        """
        if code is None:
            # On the wire a reason stands behind a code (RFC 6455, 5.5.1).
            if reason is not None:
                raise ValueError("a close has a reason only beside a code; give both")
            return self._send_close(None, b"")
        octets = checked_close(code, reason or "")
        return self._send_close(int(code), octets)

    def _send_close(self, code: int | None, reason: bytes) -> bool:
        if self.state in CONNECTING:
            raise Disconnected("a connection can be closed once it is open, in onOpen")
        if self.state != OPEN:
            return False
        self.sendCloseFrame(code=code, reasonUtf8=reason or None)
        return True

    def _decide(self, onConnect: Callable[[Any], Any], argument: object) -> Deferred[Any]:
        """Call a behaviour's `onConnect`, and return its result as a Deferred.

        The peer is not read until then.
        """
        self._introduced = True
        self._reader.holds |= Hold.DECIDING
        decision: Deferred[Any] = maybeDeferred(onConnect, argument)
        if not decision.called:
            self._reader.hold(Hold.DECIDING)
        return decision
