"""Implement the client's end of a connection."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import HandshakeError, WSServiceError
from ..escape import escape
from ..net.timers import Timers
from ..net.transports import peer_name
from ..protocol.compression import Deflate, Extension, chosen, client_accept, client_offers
from ..protocol.connection import Connection
from ..protocol.options import ConnectionFactory, common_options, deployed
from ..protocol.sending import PreparedMessage, Sent
from .ended import why_ended
from .opening import Opening
from .options import ClientConfig
from .pinging import Pings
from .security import HostSecurity
from .trace import HandshakeTrace

_P = TypeVar("_P", bound="ClientProtocol")


@implementer(IHandshakeListener)
class ClientProtocol(Connection, WebSocketClientProtocol):  # type: ignore[misc]
    """A connection to a server. Subclass it, and override any of

    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: it is over.

    Each may be a plain method, `async def`, or return a Deferred. An exception in one is logged,
    and closes the connection with 1011. `self.close(code, reason)` closes it.
    """

    factory: ClientFactory[Any]

    _masks = True

    #: Its opening handshake.
    _opening: Opening

    # Made with the first ping, because most connections never send one.
    _pings: Pings | None = None

    @property
    def has_room(self) -> bool:
        """True if a message that is sent now leaves at once, because no other waits."""
        return not self._queue.waits

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> Sent:  # type: ignore[override]
        """Send a prepared message.

        It is not framed in advance: each frame needs a mask of its own.
        """
        return self.sendMessage(
            preparedMsg.payload, preparedMsg.isBinary, doNotCompress=preparedMsg.doNotCompress
        )

    def ping(self, payload: bytes | None = None) -> Deferred[float]:
        """Ping the server. Fires with the seconds until its pong.

        `payload` has at most 125 octets; the default is random, so that a pong sent before cannot
        answer it. Raises `ValueError` for a payload that is longer, or of a ping that still waits,
        and `TypeError` if it is not bytes.

        Fails with `ConnectionClosed` when the connection ends. While reading is paused, pongs are
        not seen; bound the time with `addTimeout`.
        """
        if self.state != self.STATE_OPEN:
            return fail(why_ended(self))
        if self._pings is None:
            self._pings = Pings(self._common)
        return self._pings.send(self, payload)

    def _onPong(self, payload: bytes) -> None:
        if self._pings is not None:
            self._pings.ponged(payload)
        super()._onPong(payload)

    def connectionMade(self) -> None:
        self.who = peer_name(self.transport.getPeer())
        self._opening = Opening()
        super().connectionMade()

    def startHandshake(self) -> None:
        """Start the handshake; over TLS, wait for its own handshake first. Autobahn calls it."""
        if self.factory.security is None:
            self._opening.ask(self)

    def handshakeCompleted(self) -> None:
        """Start the WebSocket handshake: that of TLS is done. Twisted calls it."""
        self._opening.secured = True
        if self.factory.security is not None:
            for line in self.factory.security.described():
                self.factory.trace.note(f"TLS: {line}")
            self._opening.ask(self)

    def processHandshake(self) -> None:
        """Read the octets of the answer in `data`. Autobahn calls it."""
        self._opening.read(self)

    def read_answer(self) -> None:
        """Have Autobahn read an answer that opens the connection."""
        super().processHandshake()

    def failHandshake(self, reason: str) -> None:
        self.failedByMe = True  # `connect` reports it
        self.wasNotCleanReason = reason
        self.dropConnection(abort=True)

    def _parseExtensionsHeader(self, header: str, removeQuotes: bool = True) -> list[Extension]:
        """Parse the header.

        Autobahn's own method knows no quoted strings, and no window of 8 bits.
        """
        return chosen(header)

    def _onConnect(self, response: ConnectionResponse) -> Deferred[Any]:
        if self._perMessageCompress is not None:
            self._perMessageCompress = Deflate.like(self._perMessageCompress)
            self.websocket_extensions_in_use[:] = [self._perMessageCompress]
        accepted, self._opening.accepted = self._opening.accepted, None
        if accepted is not None:  # Autobahn saw only some of the headers
            response.headers.update(accepted.joined())
        return self._decide(self.onConnect, response).addErrback(self.callback_failed)

    def _opened(self) -> None:
        self.factory.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        try:
            super().connectionLost(reason)
        finally:
            if self._pings is not None:
                self._pings.end(self)
            # A connection that never opened must end too, even if the code above fails.
            self.factory.not_opened(self._why_not_opened(reason))

    def _why_not_opened(self, reason: Failure) -> WSServiceError:
        try:
            return self._opening.why_not(self, reason)
        except Exception as error:
            self.log.failure("[{who}] the handshake failed", who=self.who)
            why = escape(f"{type(error).__name__}: {error}")
            return HandshakeError(
                f"{escape(self.factory.config.target.shown)} did not open a WebSocket: {why}"
            )


class ClientFactory(ConnectionFactory, WebSocketClientFactory, Generic[_P]):  # type: ignore[misc]
    """Make one connection, and fire `opening` with it once it is open."""

    noisy = False

    def __init__(
        self,
        config: ClientConfig,
        protocol: type[_P],
        reactor: IReactorTime,
        security: HostSecurity | None = None,
    ) -> None:
        # Autobahn gets no URL and no headers: it would parse the URL in its own way, and this
        # client writes the request itself.
        super().__init__(protocols=list(config.subprotocols), reactor=reactor)
        self.url = config.url
        self.config = config
        self.security = security
        self.trace = HandshakeTrace(config.trace, config.secrets)
        self.opening: Deferred[_P] = Deferred()
        self._batched_timer = Timers(reactor)
        options = client_options(config)
        for name, value in options.items():
            setattr(self, name, value)
        self.protocol = deployed(protocol, config, options, reactor)

    def opened(self, protocol: _P) -> None:
        """Fire `opening`: a connection is open."""
        if not self.opening.called:
            self.opening.callback(protocol)

    def not_opened(self, error: WSServiceError) -> None:
        """Fail `opening`, unless the connection was open before."""
        if not self.opening.called:
            self.opening.errback(error)


def _not_offered(_response: object, keeps_context: bool) -> None:
    """Refuse compression: a server must not choose what was not offered (RFC 6455, 4.1)."""


def client_options(config: ClientConfig) -> dict[str, Any]:
    """Return all of Autobahn's options for a client, by Autobahn's names."""
    return {
        **common_options(config),
        "version": 18,
        "acceptMaskedServerFrames": False,
        "maskClientFrames": True,
        # Our own close timeout does this.
        "serverConnectionDropTimeout": 0,
        "perMessageCompressionOffers": client_offers() if config.compression else [],
        "perMessageCompressionAccept": partial(
            client_accept if config.compression else _not_offered,
            keeps_context=config.slow_client == "close",
        ),
    }
