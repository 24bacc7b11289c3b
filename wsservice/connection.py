"""Autobahn's protocol made safe: what server and client share.

Octets come in by `dataReceived`, messages leave to `onMessage` and come back
by `sendMessage`. Between them stands Autobahn's own state machine. Added here:
a behaviour's callbacks run one after another and can fail without harm, and
no connection outlives its end by more than the close timeout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .config import Limits
from .escape import escape
from .log import PeerLogger
from .policy import CloseCode

_HELD_MESSAGES = 16
_HELD_OCTETS = 64 * 1024
"""Reading stops while more than so much waits for a callback that is still running."""


_C = TypeVar("_C", bound="Connection")


def peer_name(address: object) -> str:
    """An address as people write it: `192.0.2.1:5000`, `[2001:db8::1]:5000`, `unix`."""
    if isinstance(address, IPv4Address | IPv6Address):
        # What comes by IPv4 to a socket that takes both is an IPv4 address. What
        # a PROXY header says is not checked by Twisted.
        host = escape(address.host.removeprefix("::ffff:"))
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    return "unix" if isinstance(address, UNIXAddress) else "unknown"


@attrs.frozen
class ReactorTimer:
    """Autobahn's timers on the reactor they belong to.

    Its own (txaio's) use the global reactor whatever the factory was given,
    and fire up to a second early.
    """

    _reactor: IReactorTime

    def call_later(self, delay: float, function: Callable[..., object]) -> IDelayedCall:
        """As txaio has it."""
        return self._reactor.callLater(delay, function)


def common_options(limits: Limits) -> dict[str, Any]:
    """Autobahn's options for server and client alike, every one, by Autobahn's names."""
    return {
        "logOctets": False,
        "logFrames": False,
        "trackTimings": False,
        "utf8validateIncoming": True,
        "applyMask": True,
        # The limit is Autobahn's to keep while a message comes in, so that 1009
        # goes out at the first octet that proves it too large. One octet more
        # than ours: at its own limit Autobahn delivers what it inflated cut short.
        "maxMessagePayloadSize": limits.max_message_size and limits.max_message_size + 1,
        "maxFramePayloadSize": 0,
        "autoFragmentSize": 0,
        # A peer that breaks the protocol is told so by a close frame.
        "failByDrop": False,
        "echoCloseCodeReason": True,
        "openHandshakeTimeout": limits.handshake_timeout,
        "closeHandshakeTimeout": limits.close_timeout,
        "tcpNoDelay": True,
        "autoPingInterval": 0,
        "autoPingTimeout": 0,
        "autoPingSize": 12,
        "autoPingRestartOnAnyTraffic": True,
    }


def deployed(
    protocol: type[_C], limits: Limits, options: dict[str, Any], **members: Any
) -> type[_C]:
    """A protocol's class with a factory's options, in a subclass that goes by the same name.

    A class, and not values for each instance: it is one for all connections.
    """
    namespace = {
        **{name: staticmethod(each) if callable(each) else each for name, each in options.items()},
        **members,
        "__module__": protocol.__module__,
        "__qualname__": protocol.__qualname__,
        "__doc__": protocol.__doc__,
        "_compression": limits.compression,
        "_max_message_size": limits.max_message_size,
        "_close_timeout": limits.close_timeout,
    }
    return type(protocol.__name__, (protocol,), namespace)


class Connection(WebSocketAdapterProtocol, WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket connection, at either end. Mixed in before Autobahn's own class.

    Of a behaviour's callbacks the next is called when the one before is done,
    whether that is a plain method, a coroutine or returns a Deferred; while
    too much waits for it, the peer is not read. `onPing` and `onPong` do not
    wait. `onClose` is called once for each connection whose `onConnect` was.
    """

    # Options live on the class, set once by the factory. Autobahn would copy
    # each to each connection, and format them all for a debug line.
    CONFIG_ATTRS: list[str] = []
    transport: Any
    closeHandshakeTimeoutCall: Any
    log = PeerLogger(namespace="wsservice")

    #: The connection's id and peer, for people and logs.
    who = "?"

    _compression = False
    _max_message_size = 0
    _close_timeout = 0.0

    def connectionMade(self) -> None:
        self._running: Deferred[Any] | None = None
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._calling = False
        self._held = 0
        self._reading_held = False
        self._introduced = False
        self._deciding = False
        self._drop_call: IDelayedCall | None = None
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self._deciding:
            # A TLS transport hands over what it has already decrypted even while
            # it is paused.
            self.data += data
            return
        # Autobahn's formats debug text for each chunk.
        try:
            self._dataReceived(data)
        except Exception:
            self._callback_failed(Failure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._drop_call is not None:
            self._drop_call.cancel()
            self._drop_call = None
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        super().connectionLost(reason)
        # These lead back here: without them the connection is freed at once,
        # not at the collector's next round.
        self.is_closed = None
        self._perMessageCompress = None

    # What a behaviour may do

    def sendMessage(
        self,
        payload: Any,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> bool:
        """Send a message, as Autobahn's, and say whether it was taken.

        False: the connection is closing or closed, so nobody will read it. That
        is the ordinary end of a conversation, not an error. Raises `TypeError`
        for a payload that is not bytes, `autobahn.exception.Disconnected` when
        the connection is not open yet.
        """
        if not isinstance(payload, bytes):
            raise TypeError(f"a payload is bytes, not {type(payload).__name__}; encode text")
        if self.state in (self.STATE_CLOSING, self.STATE_CLOSED):
            return False
        # Autobahn holds what we send to the limit on what we take.
        self.maxMessagePayloadSize = 0
        try:
            super().sendMessage(payload, isBinary, fragmentSize, sync, doNotCompress)
        finally:
            del self.maxMessagePayloadSize
        return True

    # What Autobahn calls

    def _onOpen(self) -> None:
        if self.state == self.STATE_OPEN:  # else `onConnect` of a client failed
            self._call(self.onOpen)

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        if 0 < self._max_message_size < len(payload):
            self._max_message_size_exceeded(len(payload), self._max_message_size, "message too big")
            return
        self._call(self.onMessage, payload, isBinary)

    def _onPing(self, payload: bytes) -> None:
        self._run(self.onPing, payload)

    def _onPong(self, payload: bytes) -> None:
        self._run(self.onPong, payload)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._introduced:
            self._call(self.onClose, wasClean, code, reason)

    def _closeConnection(self, abort: bool = False) -> None:
        super()._closeConnection(abort)
        # A peer that does not read, or over TLS does not say goodbye, would
        # hold its buffers and its descriptor for ever.
        if not abort:
            self._drop_later()

    def _drop_later(self) -> None:
        if self._close_timeout and self._drop_call is None:
            self._drop_call = self.factory.reactor.callLater(self._close_timeout, self._drop)

    def _drop(self) -> None:
        self._drop_call = None
        self.transport.abortConnection()

    # A behaviour's callbacks: one after another, and none does harm

    def _decide(self, onConnect: Callable[[Any], Any], argument: object) -> Deferred[Any]:
        """Run a behaviour's `onConnect`, with nothing read until it has decided."""
        self._introduced = True
        self._deciding = True
        self._hold_reading()
        decision: Deferred[Any] = maybeDeferred(onConnect, argument)
        return decision.addBoth(self._decided)

    def _decided(self, result: Any) -> Any:
        self._deciding = False
        self._resume_reading()
        return result

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back, after the callbacks that came before are done."""
        if self._running is None and not self._calls:
            self._run_awaited(callback, args)
            return
        self._calls.append((callback, args))
        self._held += len(args[0]) if args and isinstance(args[0], bytes) else 0
        if len(self._calls) > _HELD_MESSAGES or self._held > _HELD_OCTETS:
            self._hold_reading()

    def _run_awaited(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        deferred = self._run(callback, *args)
        if deferred is not None:
            self._running = deferred
            deferred.addBoth(self._call_done)

    def _call_done(self, _result: object) -> None:
        self._running = None
        if self._calling:
            return
        self._calling = True
        while self._calls and self._running is None:
            callback, args = self._calls.popleft()
            self._held -= len(args[0]) if args and isinstance(args[0], bytes) else 0
            self._run_awaited(callback, args)
        self._calling = False
        if not self._calls:
            self._resume_reading()

    def _run(self, callback: Callable[..., object], *args: Any) -> Deferred[Any] | None:
        try:
            result = callback(*args)
        except Exception:
            self._callback_failed(Failure())
            return None
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if not isinstance(result, Deferred):
            return None
        return result.addErrback(self._callback_failed)

    def _callback_failed(self, failure: Failure) -> None:
        """Log what a callback raised, and close this connection with 1011, which tells nothing."""
        self.log.failure("[{who}] a callback failed", failure, who=self.who)
        # What waits was meant for a behaviour that works; its end it must be told.
        self._calls = deque(each for each in self._calls if each[0] == self.onClose)
        if self.state == self.STATE_OPEN:
            self.failedByMe = True
            self.sendCloseFrame(code=CloseCode.INTERNAL_ERROR)

    def _hold_reading(self) -> None:
        if not self._reading_held:
            self._reading_held = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_held:
            self._reading_held = False
            if self.state != self.STATE_CLOSED:
                self.transport.resumeProducing()
