"""The client's end of a connection."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..compression import client_accept, client_offers
from ..connection import Connection
from ..errors import HandshakeError, TLSError, WSServiceError
from ..escape import escape
from ..factory import ConnectionFactory, common_options, deployed
from ..timers import Timers
from ..transports import peer_name, tls_reason
from .options import ClientConfig

_P = TypeVar("_P", bound="ClientProtocol")

_LONGEST_ANSWER = 16 * 1024
"""Octets that the answer to the opening handshake may have."""


class ClientProtocol(Connection, WebSocketClientProtocol):  # type: ignore[misc]
    """A connection to a server. Subclass it, and override what you need of

    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: it is over.

    Each may be a plain method, `async def`, or return a Deferred. What one
    raises is logged, and closes the connection with 1011.
    """

    factory: ClientFactory[Any]

    _masks = True

    def connectionMade(self) -> None:
        self.who = peer_name(self.transport.getPeer())
        super().connectionMade()

    def processHandshake(self) -> None:
        if len(self.data) > _LONGEST_ANSWER and b"\r\n\r\n" not in self.data[:_LONGEST_ANSWER]:
            self.failHandshake("its answer has too long a head")
            return
        try:
            super().processHandshake()
        except Exception as error:
            self.failHandshake(f"its answer makes no sense, {error}")

    def failHandshake(self, reason: str) -> None:
        self.failedByMe = True  # `connect` reports it
        self.wasNotCleanReason = reason
        self.dropConnection(abort=True)

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
        self.factory.not_opened(self._refusal(reason))

    def _refusal(self, reason: Failure) -> WSServiceError:
        url = escape(self.factory.url)
        if reason.check(SSL.Error, VerificationError):
            return TLSError(f"cannot connect to {url}: TLS failed, {_tls_failure(reason.value)}")
        if self.factory.isSecure and self.transport.getPeerCertificate() is None:
            return TLSError(f"cannot connect to {url}: TLS failed, the server does not speak it")
        words = getattr(self, "http_status_line", "").split(None, 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdecimal() else None
        if status not in (None, 101):
            said = escape(" ".join(words[1:]))
            return HandshakeError(f"{url} refused to open a WebSocket: {said}", status)
        why = escape(str(self.wasNotCleanReason))
        return HandshakeError(f"{url} did not open a WebSocket: {why}", status)


def _tls_failure(error: BaseException | None) -> str:
    if isinstance(error, VerificationError):
        return "the certificate is not for this host"
    return tls_reason(error) or "the server broke off"


class ClientFactory(ConnectionFactory, WebSocketClientFactory, Generic[_P]):  # type: ignore[misc]
    """Makes one connection, and fires `opening` with it once it is open."""

    noisy = False

    def __init__(self, config: ClientConfig, protocol: type[_P], reactor: IReactorTime) -> None:
        super().__init__(
            origin=config.origin,
            protocols=list(config.subprotocols),
            useragent=config.user_agent,
            headers=dict(config.headers),
            reactor=reactor,
        )
        # Autobahn writes an IPv6 address into the Host header without brackets, loses
        # what is after a semicolon in a path, and takes a host named unix for a socket.
        self.url = config.url
        self.isSecure = config.secure
        self.port = config.port
        self.host = f"[{config.host}]" if ":" in config.host else config.host
        self.resource = config.resource
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
            client_accept, keeps_context=config.slow_client == "close"
        ),
    }
