"""A connection through a proxy."""

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

from .negotiation import Negotiation, NegotiationError


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to a proxy, and through it.

    Fails with `NegotiationError` if the proxy will not, else as the endpoint of the
    proxy does. How long that may take is for whoever connects to say.
    """

    def __init__(
        self, to_proxy: IStreamClientEndpoint, negotiate: Callable[[], Negotiation]
    ) -> None:
        self._to_proxy = to_proxy
        self._negotiate = negotiate

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Twisted's."""
        factory = Factory.forProtocol(_Tunnel)
        factory.noisy = False
        factory.tunnel = lambda: (self._negotiate(), protocolFactory)  # type: ignore[attr-defined]
        connecting: Deferred[Any] = self._to_proxy.connect(factory)
        return connecting.addCallback(lambda tunnel: tunnel.opened)


@implementer(IHalfCloseableProtocol)
class _Tunnel(Protocol):
    """Negotiates with a proxy; once that is done, all that comes is for another protocol."""

    factory: Any
    transport: Any
    _inner: Any = None

    def connectionMade(self) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())
        self._negotiation, self._for = self.factory.tunnel()
        self.transport.write(next(self._negotiation))

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif not self.opened.called:
            self._negotiate(data)

    def _negotiate(self, data: bytes) -> None:
        try:
            said = self._negotiation.send(data)
            while said:
                self.transport.write(said)
                said = self._negotiation.send(b"")  # what answers this may be there already
        except StopIteration as done:
            self._begin(done.value)
        except NegotiationError as error:
            self.opened.errback(error)
            self.transport.abortConnection()

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
