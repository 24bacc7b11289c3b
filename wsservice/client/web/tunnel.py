"""Connect through a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...net.transports import abort_connection
from .negotiation import Negotiation


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connect to a proxy, and through it.

    Fails with `NegotiationError` if the proxy refuses, otherwise as the endpoint of the proxy does.
    It has no time limit: the caller sets one.
    """

    def __init__(
        self, to_proxy: IStreamClientEndpoint, negotiate: Callable[[], Negotiation]
    ) -> None:
        self._to_proxy = to_proxy
        self._negotiate = negotiate

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect. Twisted calls it."""
        factory = Factory.forProtocol(_Tunnel)
        factory.noisy = False
        factory.tunnel = lambda: (self._negotiate(), protocolFactory)  # type: ignore[attr-defined]
        connecting: Deferred[Any] = self._to_proxy.connect(factory)
        return connecting.addCallback(lambda tunnel: tunnel.opened)


@implementer(IHalfCloseableProtocol)
class _Tunnel(Protocol):
    """Negotiate with a proxy, then pass all octets to another protocol."""

    factory: Any
    transport: Any
    _inner: Any = None

    def connectionMade(self) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: abort_connection(self.transport))
        self._negotiation, self._for = self.factory.tunnel()
        self.transport.write(next(self._negotiation))

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif not self.opened.called:
            self._negotiate(data)

    def _negotiate(self, data: bytes) -> None:
        try:
            rest = self._heard(data)
            if rest is not None:
                self._begin(rest)
        except Exception as error:
            # Without this, nobody would tell the caller that the attempt is over.
            if self.opened.called:
                raise
            self.opened.errback(error)
            abort_connection(self.transport)

    def _heard(self, data: bytes) -> bytes | None:
        """Return the octets behind the end of the negotiation; None while it goes on."""
        try:
            said = self._negotiation.send(data)
            while said:
                self.transport.write(said)
                said = self._negotiation.send(b"")  # what answers this may be there already
        except StopIteration as done:
            rest: bytes = done.value
            return rest
        return None

    def _begin(self, rest: bytes) -> None:
        self._inner = self._for.buildProtocol(self.transport.getPeer())
        self._inner.makeConnection(self.transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def readConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(reason)
