"""The client's end of a connection."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..compression import client_accept, client_offers
from ..connection import Connection
from ..errors import WSServiceError
from ..factory import ConnectionFactory, common_options, deployed
from ..sending import PreparedMessage, Sent
from ..timers import Timers
from ..transports import peer_name
from .opening import Opening
from .options import ClientConfig
from .pinging import Pinging
from .security import HostSecurity
from .trace import Trace

_P = TypeVar("_P", bound="ClientProtocol")


class ClientProtocol(Pinging, Opening, Connection, WebSocketClientProtocol):  # type: ignore[misc]
    """A connection to a server. Subclass it, and override what you need of

    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: it is over.

    Each may be a plain method, `async def`, or return a Deferred. What one
    raises is logged, and closes the connection with 1011.
    """

    factory: ClientFactory[Any]

    _masks = True

    @property
    def has_room(self) -> bool:
        """Whether what is sent now leaves at once, and does not wait for the server to read."""
        return not self._queue.waits

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> Sent:  # type: ignore[override]
        """As of a server, but for the key: each of a client's frames needs one of its own."""
        return self.sendMessage(
            preparedMsg.payload, preparedMsg.isBinary, doNotCompress=preparedMsg.doNotCompress
        )

    def connectionMade(self) -> None:
        self.who = peer_name(self.transport.getPeer())
        super().connectionMade()

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> bool | None:
        done: bool | None = super().onCloseFrame(code, reasonRaw)
        if self.state == self.STATE_CLOSING:
            # TCP is the server's to end (RFC 6455, 7.1.1). It has the close
            # timeout to do so.
            self._drop_later()
        return done

    def _onConnect(self, response: ConnectionResponse) -> Deferred[Any]:
        return self._decide(self.onConnect, response).addErrback(self._callback_failed)

    def _opened(self) -> None:
        self.factory.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.not_opened(self._why_not(reason))


class ClientFactory(ConnectionFactory, WebSocketClientFactory, Generic[_P]):  # type: ignore[misc]
    """Makes one connection, and fires `opening` with it once it is open."""

    noisy = False

    def __init__(
        self,
        config: ClientConfig,
        protocol: type[_P],
        reactor: IReactorTime,
        security: HostSecurity | None = None,
    ) -> None:
        # What Autobahn would say in the handshake, and where it would say it, is not
        # for it to know: the URL it takes apart in ways of its own.
        super().__init__(protocols=list(config.subprotocols), reactor=reactor)
        self.url = config.url
        self.config = config
        self.security = security
        self.trace = Trace(config.trace)
        self.opening: Deferred[_P] = Deferred()
        self._batched_timer = Timers(reactor)
        options = client_options(config)
        for name, value in options.items():
            setattr(self, name, value)
        self.protocol = deployed(protocol, config, options, reactor)

    def opened(self, protocol: _P) -> None:
        """A connection is open."""
        if not self.opening.called:
            self.opening.callback(protocol)

    def not_opened(self, error: WSServiceError) -> None:
        """A connection is over; an error if it never was open."""
        if not self.opening.called:
            self.opening.errback(error)


def _not_offered(_response: object, keeps_context: bool) -> None:
    """A server must not choose what was not offered (RFC 6455, 4.1)."""


def client_options(config: ClientConfig) -> dict[str, Any]:
    """Autobahn's options for a client, every one, by Autobahn's names."""
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
