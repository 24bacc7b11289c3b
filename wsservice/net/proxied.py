"""Listen behind a gateway that sends a PROXY header, on endpoints such as `haproxy:tcp:8080`.

Twisted has such endpoints too, with faults: they drop `PROXY UNKNOWN` and a header whose first
octets come in small pieces, raise at malformed headers, and look for the header within TLS, where
no gateway puts it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ..clock import monotonic_of
from ..log.peer import PeerLogger, Seldom
from ..metrics import NO_PROXY_HEADER
from ..private.of_twisted import without_tls
from .proxy_header import HeaderReader, IPEnd, Malformed
from .transports import Unchanged, log_prefix, peer_name, plain

PREFIX = "haproxy:"
"""The prefix of such an endpoint's description, before that of the endpoint within."""

_log = PeerLogger(namespace="wsservice")


@runtime_checkable
class CountsRefusals(Protocol):
    """A factory that counts connections which are dropped before they reach it."""

    def count_refusal(self, kind: str) -> None:
        """Count one dropped connection, by its reason, one of `metrics.REFUSALS`."""


class ProxiedTransport(Unchanged):
    """Reads the header, and then is the transport of the protocol within, with the true ends."""

    factory: ProxiedFactory

    def __init__(self, factory: ProxiedFactory, wrappedProtocol: IProtocol) -> None:
        super().__init__(factory, wrappedProtocol)  # type: ignore[arg-type]
        self._reader: HeaderReader | None = HeaderReader()
        self._refused = False
        self._peer: IAddress | None = None
        self._host: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take octets of the header, and octets behind it."""
        if self._reader is None:
            self.wrappedProtocol.dataReceived(data)
            return
        if self._refused:
            return
        header = self._reader.feed(data)
        if header is None:
            return
        if isinstance(header, Malformed):
            self._refused = True
            self.factory.refuse(self._own("getPeer"), header.why)
            self.abortConnection()
            return
        self._reader = None
        if header.is_unix:
            self._peer = self._host = UNIXAddress(None)
        elif header.source is not None and header.destination is not None:
            self._peer, self._host = _address(header.source), _address(header.destination)
        protocol: Any = self.wrappedProtocol
        socket = plain(self)
        if socket is not None:
            # Octets now pass from the socket to the protocol directly. No reference leads back
            # from here, so the connection is freed at its end without the garbage collector.
            socket.protocol = protocol
            self.wrappedProtocol = None  # type: ignore[assignment]
        if header.rest:
            protocol.dataReceived(header.rest)

    def getPeer(self) -> IAddress:
        """Return the address of the peer that the gateway names.

        Returns the gateway's address before the header is read, and if the header names nobody.
        """
        return self._peer or self._own("getPeer")

    def getHost(self) -> IAddress:
        """Return the address that the peer connected to, by the same rule."""
        return self._host or self._own("getHost")

    def _own(self, which: str) -> IAddress:
        address: IAddress = getattr(self.transport, which)()
        return address


def _address(end: IPEnd) -> IPv4Address | IPv6Address:
    host, port = end
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


class ProxiedFactory(WrappingFactory):
    """Makes the connections of a factory begin with a header.

    `name` is the option that names the port. `counts` counts connections without a header, if it
    is a `CountsRefusals`.
    """

    protocol = ProxiedTransport
    noisy = False

    def __init__(
        self, name: str, wrapped: IProtocolFactory, reactor: Any, counts: object = None
    ) -> None:
        super().__init__(wrapped)
        self._name = name
        self._counts = counts if isinstance(counts, CountsRefusals) else None
        self._seldom = Seldom(monotonic_of(reactor))
        self._dropped = 0

    def logPrefix(self) -> str:
        """Return the port's name in the log."""
        return f"{log_prefix(self.wrappedFactory)} (PROXY)"

    # Twisted's factory keeps each connection until its end, of which it is not told here: the
    # socket's events go past it once the header is read.

    def registerProtocol(self, p: object) -> None:
        """Do nothing: connections are not kept."""

    def unregisterProtocol(self, p: object) -> None:
        """Do nothing: connections are not kept."""

    def refuse(self, gateway: IAddress, why: str) -> None:
        """Count a dropped connection, and log it unless another was logged a moment ago.

        `gateway` is the gateway's address, `why` the reason in words.
        """
        self._dropped += 1
        if self._counts is not None:
            self._counts.count_refusal(NO_PROXY_HEADER)
        if self._seldom.due():
            _log.warn(
                "{name}: dropped a connection from {peer}: {why} ({count} so far)",
                name=self._name,
                peer=peer_name(gateway),
                why=why,
                count=self._dropped,
            )


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """Makes an endpoint's connections begin with a header, before TLS if there is any.

    `name` is the option that names the endpoint. Twisted's `ssl:` is the only endpoint with TLS
    that is known here.
    """

    def __init__(self, name: str, endpoint: IStreamServerEndpoint, reactor: Any) -> None:
        self._name = name
        #: The endpoint within, by Twisted's name: `listening` and `activation` look through it.
        self._wrappedEndpoint: Any = endpoint
        self._reactor = reactor

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Return a Deferred of the listening port, as the endpoint within does."""
        inner, within = self._wrappedEndpoint, protocolFactory
        # An `ssl:` endpoint would put TLS in front of the header. So TCP alone listens, and TLS
        # begins behind the header.
        plain_and_tls = without_tls(inner)
        if plain_and_tls is not None:
            inner, tls = plain_and_tls
            within = TLSMemoryBIOFactory(tls, False, protocolFactory, self._reactor)
        front = ProxiedFactory(self._name, within, self._reactor, protocolFactory)
        listening: Deferred[IListeningPort] = inner.listen(front)
        return listening
