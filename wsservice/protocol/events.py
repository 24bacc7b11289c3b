"""Hand what Twisted and Autobahn tell a connection to its parts.

The parts are objects with their state in slots; `owner` lists the names by which they call the
connection. Methods here are short: the parts decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.websocket.protocol import TrafficStats, WebSocketProtocol
from OpenSSL import SSL
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.close_codes import CloseCode
from ..log.peer import PeerLogger, discreet
from ..net.transports import SocketWriter, explained, plain, tls_problem
from ..private.of_autobahn import connection_lost
from .closing import ClosingHandshake
from .common import Common
from .compat import quiet_txaio
from .fragments import TOO_BIG, Fragments
from .framing import Framing
from .keepalive import KeepAlive
from .owner import CLOSED, CLOSING, CONNECTING, OPEN, Hold
from .reading import Reader
from .sending import Kind, SendQueue
from .slowness import Slowness

quiet_txaio()

NOT_COUNTED = TrafficStats()
NOT_QUEUED: deque[Any] = deque(maxlen=0)
"""Stand-ins for Autobahn's counters and queue of each connection, which nobody reads here.

With them an idle connection takes 8 kB, without them 10 kB.
"""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Events(WebSocketAdapterProtocol, WebSocketProtocol):  # type: ignore[misc]
    """A connection, as Twisted, Autobahn and its own parts call it."""

    # A broadcast reads these of each connection. A slot takes one look at the object itself;
    # an attribute takes several at its dictionary, which is in no cache after a thousand others.
    # That is a part of the step from 1.65 to 1.15 microseconds of user time for each receiver.
    __slots__ = ("_framing", "_queue", "_reader", "state")

    # The factory sets options once, on the class. Autobahn would copy each option to each
    # connection, and format all of them for a debug line that is not printed.
    CONFIG_ATTRS: list[str] = []
    log = PeerLogger(namespace="wsservice")
    transport: Any
    # Autobahn sets both when the connection is open.
    inside_message = False
    current_frame: Any = None
    closeHandshakeTimeout: float
    closeHandshakeTimeoutCall: Any = None
    _perMessageCompress: Any
    _isMessageCompressed: bool

    #: The connection's id and peer, for people and logs.
    who = "?"

    #: True if our frames are masked, as a client's must be (RFC 6455, 5.3).
    _masks = False

    #: True if `take_all` may take the messages of a read.
    _takes_all = False

    #: True if a behaviour knows of the connection, so that it must be told of the end.
    _introduced = False

    # The parts
    _common: Common
    _queue: SendQueue
    _reader: Reader
    #: Makes frames, None if payloads go out unchanged (no compression, no JSON envelope).
    _framing: Framing | None
    # The others are made when they are needed.
    _closing_handshake: ClosingHandshake | None = None
    _fragments: Fragments
    _keep_alive: KeepAlive | None = None
    _slowness: Slowness | None = None

    # Beginning and end

    def connectionMade(self) -> None:
        tcp = plain(self.transport)
        if tcp is None:
            write, socket = self.transport.write, None
        else:
            write, socket = SocketWriter(tcp), tcp.socket
        self._framing = None
        self._queue = SendQueue(
            write,
            self._common.send_bound,
            self.factory.gathering,
            socket=socket,
            budget=self.factory.budget,
        )
        self._reader = Reader(self, self._common, self._queue, tcp)
        self.transport.registerProducer(self, True)
        self._begin()

    def _begin(self) -> None:
        """Run Autobahn's part of the beginning of a connection."""
        super().connectionMade()
        # Autobahn has just made a counter and a queue for this connection. Nobody reads the
        # counter, and frames go through our own queue.
        self.trafficStats = NOT_COUNTED
        self.send_queue = NOT_QUEUED

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._hear_the_rest()
        if self._closing_handshake is not None:
            self._closing_handshake.stop(self)
        if self._keep_alive is not None:
            self._keep_alive.stop()
        self.unregisterProducer()
        if self.state != CLOSED:
            self._is_over()
        self.forget_unread()
        self._queue.forget()
        reason = explained(reason)
        if isinstance(reason.value, SSL.Error):
            why = tls_problem(reason.value, self.transport)
            self.log.info("[{who}] TLS: {why}", who=self.who, why=why)
        # Not `super()`: the classes between format most of the connection's state for debug lines
        # that are dropped.
        connection_lost(self, reason)
        self.transport.unregisterProducer()
        # These refer back to the connection. Without them it is freed at once, not at the next run
        # of the garbage collector.
        self.__dict__.pop("is_closed", None)
        self.__dict__.pop("_fragments", None)
        self._perMessageCompress = self._framing = None
        self._reader.let_go()

    def _hear_the_rest(self) -> None:
        """Read the remaining octets after the transport is gone. Idempotent."""
        if self._reader.unread and self.state == OPEN:
            # Answers can no longer leave, so `sendMessage` must return `Sent.CLOSED`.
            self.state = CLOSING
        self._reader.finish()

    def forget_unread(self) -> None:
        """Forget what came, which is of no interest any more."""
        self._reader.forget()
        if self.inside_message:
            # Autobahn reads neither once a connection has failed or is over.
            me: Any = self
            me.message_data = me.frame_data = None

    def _is_over(self) -> None:
        self.state = CLOSED
        self._reader.holds |= Hold.OVER
        # Autobahn makes this Deferred for each connection. Here it exists only if it was asked for.
        if "is_closed" in self.__dict__:
            self.is_closed.callback(self)

    # Octets

    def dataReceived(self, data: bytes) -> None:
        self._reader.received(data)

    def end_slice(self) -> None:
        """Let other connections have their turn. A TLS transport calls this between records."""
        self._reader.end_slice()

    def take_all(self, messages: list[tuple[bytes, bool, int]]) -> bool:
        """Take the messages of a read, and return True; return False to get each by `onMessage`."""
        return False

    def opening_received(self, data: bytes) -> None:
        """Take octets of the opening handshake."""
        self.data += data
        self.consumeData()

    def throw_away(self, octets: int) -> None:
        """Count octets that came after the connection was over."""
        self._closer().lingering.throw_away(self, octets)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send octets of a frame or a handshake. Autobahn calls this for all that it sends itself.

        `sync` and `chopsize` have no effect.
        """
        self._queue.put_other(data, Kind.OTHER)

    def pauseProducing(self) -> None:
        """Queue frames from now on. The transport calls this when it holds enough."""
        self._queue.pause()
        if self.state != CLOSED:
            self._reader.holds_more(sending=True)
        if self._queue.half_full:
            self._output_waits()

    def resumeProducing(self) -> None:
        """Send queued frames. The transport calls this when it has sent all octets."""
        # The peer reads, which is a sign of life too.
        self._reader.last_life = self._common.seconds()
        self._queue.resume()
        if not self._queue.half_full:
            self._reader.release(Hold.OUTPUT)
            if self._slowness is not None:
                self._slowness.resume()

    def stopProducing(self) -> None:
        """Do nothing: Twisted calls `connectionLost` next."""

    def _slow_down(self) -> None:
        """Stop reading a peer that reads its answers slowly."""
        self._reader.hold(Hold.OUTPUT)

    def _output_waits(self) -> None:
        self._slow_down()
        if self._slowness is not None:
            self._slowness.pause()

    @property
    def keeps_context(self) -> bool:
        """True if our compressed messages refer to earlier ones, so that none can be left out."""
        return self._framing is not None and self._framing.keeps_context

    # Messages

    def _opened(self) -> None:
        """Do nothing. Overridden to act after `onOpen`, before the peer's first message is read."""

    def _forget_heads(self) -> None:
        # Autobahn would keep both heads of the handshake until the connection is freed.
        self.http_request_data = self.http_response_data = self.http_status_line = ""

    def _onOpen(self) -> None:
        self.factory.turns.opened(self.transport)
        self._forget_heads()
        # Autobahn has the octets that came with the handshake, and would parse them itself, past
        # the codec and its limits.
        data = self.data
        if data:
            self.data = b""
        if self._framing is None and self._perMessageCompress is not None:
            self._framing = Framing(self._perMessageCompress, self._masks)
        self._reader.opened(data, self._perMessageCompress)
        if self.state == OPEN:  # it is closing if `onConnect` of a client failed
            self._reader.callbacks.call(self, self.onOpen)
            self._opened()
            if self._common.limits.ping_interval:
                self._keep_alive = KeepAlive(self, self._reader, self._common)
        self._reader.release(Hold.DECIDING)

    def _onPing(self, payload: bytes) -> None:
        self._reader.callbacks.run(self, self.onPing, payload)

    def _onPong(self, payload: bytes) -> None:
        if self._keep_alive is not None:
            self._keep_alive.ponged()
        self._reader.callbacks.run(self, self.onPong, payload)

    def _onMessageBegin(self, isBinary: bool) -> None:
        self._fragments = Fragments(self, self._common, self._isMessageCompressed)
        self._reader.kept = 0
        self.message_data_total_length = 0
        self.onMessageBegin(isBinary)

    def _onMessageFrameBegin(self, length: int) -> None:
        self._fragments.begin(length)

    def onFrameData(self, payload: bytes) -> Any:
        """Take a part of a frame, still compressed if its message is."""
        by_autobahn = super().onFrameData
        if self.current_frame.opcode > 7:  # a control frame
            return by_autobahn(payload)
        return self._fragments.take(payload, by_autobahn)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Keep a part of a message, unmasked and inflated."""
        super().onMessageFrameData(payload)
        self._reader.kept += len(payload)

    def _onMessageEnd(self) -> None:
        self._reader.messages_received += 1
        self._reader.kept = 0
        self.onMessageEnd()

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        if 0 < self._common.limits.max_message_size < len(payload):
            self.fail_connection(CloseCode.TOO_BIG, TOO_BIG)
        else:
            self._reader.callbacks.call(self, self.onMessage, payload, isBinary)

    # Callbacks of the behaviour

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._closing_handshake is not None and self._closing_handshake.failed_with is not None:
            # Our close frame said why. Autobahn has 1006 here if the peer did not answer it.
            code, reason = self._closing_handshake.failed_with, self.wasNotCleanReason
        if self._introduced:
            self._reader.callbacks.call(self, self.onClose, wasClean, code, reason)

    def _farewells(self) -> tuple[Callable[..., object], ...]:
        """Return the callbacks that tell a behaviour of the end."""
        return (self.onClose,)

    def _secrets(self) -> Sequence[str]:
        """Return texts of this connection's peer that must not be logged."""
        return ()

    def too_much_waits(self, too_much: bool) -> None:
        """Stop reading while too much waits for a callback that is still running."""
        (self._reader.hold if too_much else self._reader.release)(Hold.CALLBACK)

    def callback_failed(self, failure: Failure) -> None:
        """Log the failure of a callback, and close the connection with 1011 without a reason."""
        failure = discreet(failure, self._secrets())
        self.log.failure("[{who}] a callback failed", failure, who=self.who)
        # After an error the behaviour's state may be wrong, so it gets no more messages. Only its
        # farewells are called, so that it can clean up.
        forgotten = self._reader.callbacks.forget(*self._farewells())
        if forgotten:
            self.log.info(
                "[{who}] {count} that waited behind it: not called",
                who=self.who,
                count="1 call" if forgotten == 1 else f"{forgotten} calls",
            )
        if self.state in (OPEN, CLOSING):
            self.fail_connection(CloseCode.INTERNAL_ERROR, "a callback failed", tell=False)

    # Closing

    def _closer(self) -> ClosingHandshake:
        """Return the part that closes the connection."""
        if self._closing_handshake is None:
            self._closing_handshake = ClosingHandshake(self._reader, self._queue)
        return self._closing_handshake

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a close frame, after which nothing else is sent. Autobahn calls this.

        Does nothing if one was sent before. Raises `Disconnected` if the connection is not open
        yet.
        """
        if self.state in CONNECTING:
            raise Disconnected("a connection can be closed once it is open, in onOpen")
        if self.state == OPEN:
            self._closer().send(self, code, reasonUtf8, isReply, self._masks)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:
        """Handle a close frame of the peer, and return True if it breaks a rule.

        `code` is None for a frame without one; `reasonRaw` has the octets of the reason.
        """
        return self._closer().received(self, code, reasonRaw)

    def readConnectionLost(self) -> None:
        """Handle the end of the peer's side of TCP. The peer may still read.

        Twisted calls this (`IHalfCloseableProtocol`).
        """
        self._reader.finish()
        self._closer().peer_finished = True
        if self.state == CLOSED:
            self.transport.loseConnection()
        else:
            self.wasNotCleanReason = "the peer ended TCP without a close frame"
            self.dropConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: the peer's octets are read and thrown away until its side ends too."""

    def dropConnection(self, abort: bool = False) -> None:
        """End TCP: at once, or after all sent octets have left."""
        if self.state == CLOSED:
            return
        if not self.wasClean and not self.failedByMe:
            self.log.info("[{who}] dropped: {why}", who=self.who, why=self.wasNotCleanReason)
        self.droppedByMe = True
        self._is_over()
        # After a clean close Autobahn asks to abort, which throws away octets on their way.
        self._closeConnection(abort and not self.wasClean)

    def _closeConnection(self, abort: bool = False) -> None:
        self._closer().end_tcp(self, abort)

    def _fail_connection(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        self.fail_connection(code, reason)

    def fail_connection(self, code: int, reason: str, tell: bool = True) -> None:
        """Fail the connection: close it with a code, and stop reading (RFC 6455, 7.1.7).

        With `tell` the peer and the log get the reason too, otherwise only `onClose` gets it.
        """
        if self.state != CLOSED and not self.failedByMe:
            self._closer().fail(self, int(code), reason, tell)

    def drop_later(self, otherwise: float = 0.0) -> None:
        """Set a deadline for the end of TCP: `--close-timeout`, or `otherwise` if that is 0.

        Both are in seconds.
        """
        seconds = self._common.limits.close_timeout or otherwise
        self._closer().lingering.drop_later(self, seconds)

    def drop_within(self, seconds: float) -> None:
        """End TCP in some seconds, whatever waits to be sent."""
        self._closer().lingering.drop_within(self, seconds)
