"""Autobahn's protocol made safe and fast: what server and client share.

Octets come in by `reading`, which hands messages to `onMessage`; what is sent
leaves through one bounded queue (`sending`). Here is what a connection may do in
between, how it ends, and that it ends.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.util import encode_truncate
from autobahn.websocket.protocol import TrafficStats, WebSocketProtocol
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from . import frames
from .compression import deflate
from .counting import Traffic
from .keepalive import KeepAlive
from .log import PeerLogger, discreet
from .policy import CloseCode
from .reading import READ_SIZE, Hold, Reading
from .sending import Bound, Kind, PreparedMessage, SendQueue, Sent, no_payload
from .timers import Timer
from .transports import SocketWriter, explained, plain, tls_reason

_OPEN = WebSocketProtocol.STATE_OPEN
_MESSAGE = Kind.MESSAGE
NOT_COUNTED = TrafficStats()
NOT_QUEUED: deque[Any] = deque(maxlen=0)
"""What Autobahn counts, and queues, for each connection, which nobody reads here."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(KeepAlive, Reading, WebSocketAdapterProtocol, WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket connection, at either end. Mixed in before Autobahn's own class.

    Of a behaviour's callbacks the next is called when the one before is done,
    whether that is a plain method, a coroutine or returns a Deferred; while
    too much waits for it, the peer is not read. `onPing` and `onPong` do not
    wait. `onClose` is called once for each connection whose `onConnect` was.
    """

    # What is looked at for each message to many connections: here it takes one look at the
    # object itself, and else some at its dictionary, which by then is in no cache.
    __slots__ = ("_as_is", "_queue", "state")

    # Options live on the class, set once by the factory. Autobahn would copy
    # each to each connection, and format them all for a debug line.
    CONFIG_ATTRS: list[str] = []
    log = PeerLogger(namespace="wsservice")
    transport: Any
    is_closed: Any
    closeHandshakeTimeoutCall: Any
    _perMessageCompress: Any

    #: The connection's id and peer, for people and logs.
    who = "?"

    #: Whether our frames are masked: a client's are (RFC 6455, 5.3).
    _masks = False

    #: Whether a message's payload is what is sent: neither compressed nor made into another.
    _as_is: bool
    _queue: SendQueue
    _send_bound: Bound

    _introduced = False
    _peer_finished = False
    _drop_call: Timer | None = None
    _producer: Any = None
    _producer_paused = False

    # Beginning and end

    def connectionMade(self) -> None:
        self._tcp = plain(self.transport)
        if self._tcp is None:
            write, socket = self.transport.write, None
        else:
            write, socket = SocketWriter(self._tcp).write, self._tcp.socket
        self._as_is = True
        self._queue = SendQueue(write, self._send_bound, self.factory.gathering, socket=socket)
        self._read_at_once(READ_SIZE)
        self.transport.registerProducer(self, True)
        self._begin()

    def _begin(self) -> None:
        """Autobahn's part of the beginning."""
        super().connectionMade()
        # Autobahn's, of which every connection would hold its own: what is counted
        # there nobody reads, and what is queued there goes through our queue.
        self.trafficStats = NOT_COUNTED
        self.send_queue = NOT_QUEUED

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for call in (self._drop_call, self.closeHandshakeTimeoutCall):
            if call is not None:
                call.cancel()
        self._drop_call = self.closeHandshakeTimeoutCall = None
        self._stop_keep_alive()
        self._forget_unread()
        self.unregisterProducer()
        if self.state != self.STATE_CLOSED:
            self._is_over()
        reason = explained(reason)
        if isinstance(reason.value, SSL.Error):
            self.log.info("[{who}] TLS: {why}", who=self.who, why=tls_reason(reason.value))
        # Not what is above it: for some lines of debugging, which are dropped, each
        # would format half of what there is to know.
        WebSocketProtocol._connectionLost(self, reason)  # type: ignore[arg-type]
        self.transport.unregisterProducer()
        # These lead back here: without them the connection is freed at once,
        # not at the collector's next round.
        self.__dict__.pop("is_closed", None)
        self._perMessageCompress = None

    def _is_over(self) -> None:
        self.state = self.STATE_CLOSED
        self._holds |= Hold.OVER
        # Made when somebody asks for it, which is seldom.
        if "is_closed" in self.__dict__:
            self.is_closed.callback(self)

    def readConnectionLost(self) -> None:
        """The peer sends no more, and may still read what it is owed."""
        self._peer_finished = True
        if self.state == self.STATE_CLOSED:
            self.transport.loseConnection()
        else:
            self.wasNotCleanReason = "the peer ended TCP without a close frame"
            self.dropConnection()

    def writeConnectionLost(self) -> None:
        """Our last octet has left; the peer's are read and thrown away until it ends too."""

    def dropConnection(self, abort: bool = False) -> None:
        """End TCP: at once, or after all that was sent has left."""
        if self.state == self.STATE_CLOSED:
            return
        if not self.wasClean and not self.failedByMe:
            self.log.info("[{who}] dropped: {why}", who=self.who, why=self.wasNotCleanReason)
        self.droppedByMe = True
        self._is_over()
        # After a clean close Autobahn aborts, which throws away what is under way.
        self._closeConnection(abort and not self.wasClean)

    def _closeConnection(self, abort: bool = False) -> None:
        self._forget_unread()
        if abort:
            self._queue.forget_gathered()
            self.transport.abortConnection()
            return
        self.unregisterProducer()
        self._queue.flush()
        self.transport.unregisterProducer()
        # A peer that said goodbye sends no more. Of another something unread may
        # wait: closing the socket would then reset the connection, and destroy
        # what the peer has not read yet.
        sends_no_more = self.wasClean or self._peer_finished
        if self._tcp is not None and not sends_no_more:
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
        else:
            self.transport.loseConnection()
        self._drop_later()

    def _drop_later(self) -> None:
        # A peer that does not read, or that never ends its side, would hold its
        # buffers and its descriptor for ever.
        if self._limits.close_timeout and self._drop_call is None:
            self._drop_call = self.factory._batched_timer.call_later(
                self._limits.close_timeout, self._drop
            )

    def _drop(self) -> None:
        self.transport.abortConnection()

    def _fail_connection(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """The peer broke a rule: tell it, and read no more (RFC 6455, 7.1.7)."""
        if self.state == self.STATE_CLOSED or self.failedByMe:
            return
        self.failedByMe = True
        if reason:  # else what happened is in the log already
            self.log.info(
                "[{who}] closed with {code:d}: {why}", who=self.who, code=int(code), why=reason
            )
        self.wasNotCleanReason = reason
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=int(code), reasonUtf8=encode_truncate(reason, 123))
        self.dropConnection()

    # What a behaviour may do

    def sendMessage(
        self,
        payload: Any,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> Sent:
        """Send a message, and say what became of it: true where it is on its way.

        False where nobody will read it: the connection is closing or closed, or
        its peer reads so slowly that too much waits already. Both are ordinary,
        and not errors. `fragmentSize` and `doNotCompress` are as in Autobahn;
        `sync` makes no difference. Raises `TypeError` for a payload that is not
        bytes, `autobahn.exception.Disconnected` if the connection is not open yet.
        """
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        if self.state != _OPEN:
            if self.state in (self.STATE_CLOSING, self.STATE_CLOSED):
                return Sent.CLOSED
            raise Disconnected("a message can be sent once the connection is open, in onOpen")
        queue = self._queue
        if queue.waits and queue.full and not self._make_room(len(payload)):
            return Sent.SLOW
        if self._as_is and not fragmentSize:
            key = self._new_key() if self._masks else b""
            frame = frames.encode(0x82 if isBinary else 0x81, payload, key)
        else:
            frame = self._framed(payload, isBinary, fragmentSize, not doNotCompress)
        return self._put_late(frame) if queue.waits else queue.put(frame, _MESSAGE)

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> Sent:  # type: ignore[override]
        """Send what the factory's `prepareMessage` made, as `sendMessage` does.

        It is compressed once for all, so without what this connection said before.
        """
        if self.state != _OPEN:
            return Sent.CLOSED
        queue = self._queue
        if queue.waits and queue.full and not self._make_room(len(preparedMsg.payload)):
            return Sent.SLOW
        frame = preparedMsg.plain if self._as_is else self._frame_of(preparedMsg)
        return self._put_late(frame) if queue.waits else queue.put(frame, _MESSAGE)

    def _put_late(self, frame: bytes) -> Sent:
        """Have the frame of a message wait behind others."""
        outcome = self._queue.put(frame, _MESSAGE)
        if self._queue.half_full:
            self._output_waits()
        return outcome

    def traffic(self) -> Traffic:
        """What passed so far."""
        queue = self._queue
        return Traffic(
            self.messages_received,
            queue.messages_sent,
            self.octets_received,
            queue.octets_sent,
            queue.octets,
        )

    def pause_reading(self) -> None:
        """Read no more of the peer, until `resume_reading`; nothing that came meanwhile is lost."""
        self._hold(Hold.BEHAVIOUR)

    def resume_reading(self) -> None:
        """Read the peer again."""
        self._release(Hold.BEHAVIOUR)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell a push producer to pause while more than half of the send buffer waits."""
        if not streaming:
            raise TypeError("only push producers can be registered with a connection")
        self._producer = producer
        if self._queue.half_full:
            self._output_waits()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = False

    # Sending

    def _framed(
        self, payload: bytes, isBinary: bool, fragment_size: int | None, compressed: bool
    ) -> bytes:
        """A message as one frame or several."""
        first = 2 if isBinary else 1
        if compressed and self._perMessageCompress is not None:
            self._perMessageCompress.start_compress_message()
            payload = self._perMessageCompress.compress_message_data(payload)
            payload += self._perMessageCompress.end_compress_message()
            first |= 0x40
        size = fragment_size or len(payload)
        # One entry of the queue, so that no part of it is ever left out alone. An
        # empty message is a frame too.
        starts = range(0, len(payload) or 1, size or 1)
        return b"".join(
            frames.encode(
                (0 if start else first) | (0x80 if start == starts[-1] else 0),
                payload[start : start + size],
                self._new_key(),
            )
            for start in starts
        )

    def _frame_of(self, message: PreparedMessage) -> bytes:
        """A prepared message as one frame."""
        compress = self._perMessageCompress
        if compress is None or message.doNotCompress:
            return message.plain
        # The peer's window has it, our own compressor's has not: that begins anew.
        compress._compressor = None
        return message.compressed(compress.server_max_window_bits, deflate)

    def _new_key(self) -> bytes:
        # Not to be guessed by who chooses the payload (RFC 6455, 10.3).
        return os.urandom(4) if self._masks else b""

    def _make_room(self, size: int) -> bool:
        """The peer reads too slowly: do as the settings say. True if there is room now."""
        # What a message refers to cannot be left out: such a connection began before the
        # settings said so.
        drop = self._limits.slow_client == "drop" and not self._keeps_context()
        dropped = self._queue.drop_messages(size if drop else None)
        self.factory.slow_messages += dropped if drop else dropped + 1
        if drop:
            self.factory.slow_dropped += 1
        else:
            self.factory.slow_closed += 1
            self._fail_connection(CloseCode.TRY_AGAIN_LATER, "reads too slowly")
        return drop

    def _keeps_context(self) -> bool:
        """Whether compressed messages refer to those before them."""
        extension = self._perMessageCompress
        if extension is None:
            return False
        end = "client" if self._masks else "server"
        return not getattr(extension, f"{end}_no_context_takeover")

    def _output_waits(self) -> None:
        self._hold(Hold.OUTPUT)
        if self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self._queue.pause()
        if self._queue.half_full:
            self._output_waits()

    def resumeProducing(self) -> None:
        """The transport has sent all it had, so the peer reads."""
        self._last_life = self._seconds()
        self._queue.resume()
        if not self._queue.half_full:
            self._release(Hold.OUTPUT)
            if self._producer_paused:
                self._producer_paused = False
                self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The transport takes no more; `connectionLost` comes next."""

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Autobahn's one door out, for all but whole messages."""
        is_pong = self.state == self.STATE_OPEN and data[0] == 0x8A
        self._queue.put_other(data, Kind.PONG if is_pong else Kind.OTHER)

    # What Autobahn calls

    def _opened(self) -> None:
        """The behaviour knows that the connection is open; what came already is read next."""

    def _forget_heads(self) -> None:
        # Autobahn keeps both heads of the handshake for as long as it lives.
        self.http_request_data = self.http_response_data = self.http_status_line = ""

    def _onOpen(self) -> None:
        self._forget_heads()
        # Autobahn keeps what came with the handshake, and would work it off alone.
        self._unread = self.data + self._unread
        self.data = b""
        if self._perMessageCompress is not None:
            self._as_is = False
        self._look()
        if self.state == self.STATE_OPEN:  # else `onConnect` of a client failed
            self._call(self.onOpen)
            self._opened()
            self._keep_alive()
        self._release(Hold.DECIDING)

    def _onPing(self, payload: bytes) -> None:
        self._run(self.onPing, payload)

    def _onPong(self, payload: bytes) -> None:
        self._ponged()
        self._run(self.onPong, payload)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._introduced:
            self._call(self.onClose, wasClean, code, reason)

    # A behaviour's callbacks

    def _decide(self, onConnect: Callable[[Any], Any], argument: object) -> Deferred[Any]:
        """Run a behaviour's `onConnect`; nothing is read until it has decided."""
        self._introduced = True
        self._holds |= Hold.DECIDING
        decision: Deferred[Any] = maybeDeferred(onConnect, argument)
        if not decision.called:
            self._hold(Hold.DECIDING)
        return decision

    def _farewells(self) -> tuple[Callable[..., object], ...]:
        """The callbacks that tell of the end."""
        return (self.onClose,)

    def _secrets(self) -> Sequence[str]:
        """What this connection's peer said that is not for a log."""
        return ()

    def _too_much_waits(self, too_much: bool) -> None:
        (self._hold if too_much else self._release)(Hold.CALLBACK)

    def _callback_failed(self, failure: Failure) -> None:
        """Log what a callback raised, and close this connection with 1011, which tells nothing."""
        failure = discreet(failure, self._secrets())
        self.log.failure("[{who}] a callback failed", failure, who=self.who)
        # What waits was meant for a behaviour that works; its end it must be told.
        self._forget_calls(*self._farewells())
        if self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            self._fail_connection(CloseCode.INTERNAL_ERROR)
