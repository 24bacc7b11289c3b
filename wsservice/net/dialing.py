"""Connect to a host by Twisted's endpoint, with any name that DNS may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http.hostname import ascii_name

_ANY = "host.invalid"
"""A stand-in that Twisted's endpoint gets as a name, since it refuses names with `_`.

The domain `.invalid` never exists (RFC 6761, 6.4), so a mistake here could not reach a host.
"""


@implementer(IStreamClientEndpoint)
class HostEndpoint:
    """Connects to the first of a host's addresses that answers (RFC 8305).

    `host` is a name or an address as `hostname.parse_place` returns it. `timeout` is in seconds,
    for each address. `resolver` looks up the name; the default is the reactor's resolver.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        timeout: float,
        resolver: IHostnameResolver | None = None,
    ) -> None:
        named = _Named(host, reactor, resolver)
        self._endpoint = HostnameEndpoint(ReactorWith(reactor, named), _ANY, port, timeout)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and return a Deferred of the protocol (Twisted's `IStreamClientEndpoint`).

        Fails with `DNSLookupError` if the host has no address, whatever the resolver raises, and
        else as Twisted's `HostnameEndpoint` does.
        """
        connecting: Deferred[IProtocol] = maybeDeferred(self._endpoint.connect, protocolFactory)
        return connecting.addErrback(_without_the_stand_in)


def _without_the_stand_in(failure: Failure) -> Failure:
    if failure.check(DNSLookupError):
        # Twisted's message would name the stand-in.
        return Failure(DNSLookupError("its name is not known"))
    return failure


@implementer(IHostnameResolver)
class _Named:
    """A resolver that looks up one name, and ignores the name that it is asked for."""

    def __init__(self, host: str, reactor: Any, resolver: IHostnameResolver | None) -> None:
        self._host = host
        self._reactor = reactor
        self._resolver = resolver

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look up the host, and tell the receiver its addresses (Twisted's `IHostnameResolver`)."""
        resolver: Any = self._resolver or self._reactor.nameResolver
        host = self._host
        if "%" in host:
            # Twisted's resolver drops the zone of an address, and a link-local address without
            # its zone cannot be reached (RFC 4007, 6).
            return resolved(resolutionReceiver, host, [IPv6Address("TCP", host, portNumber)])
        if ":" not in host:
            try:
                ascii_name(host)
            except ValueError:
                # Python's codec for names would raise in the thread of the resolver, and the
                # Deferred of `connect` would never fire.
                return resolved(resolutionReceiver, host, [])
        resolution: IHostResolution = resolver.resolveHostName(
            resolutionReceiver, host, portNumber, addressTypes, transportSemantics
        )
        return resolution


def resolved(
    receiver: IResolutionReceiver, name: str, addresses: Sequence[IAddress]
) -> IHostResolution:
    """Tell a receiver addresses that are known already, and return the finished resolution."""
    resolution = _Known(name)
    receiver.resolutionBegan(resolution)
    for each in addresses:
        receiver.addressResolved(each)
    receiver.resolutionComplete()
    return resolution


@implementer(IHostResolution)
class _Known:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: the resolution is complete."""


@implementer(IReactorPluggableNameResolver)
class ReactorWith:
    """A reactor with another resolver. All other attributes are the reactor's own."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Raise `TypeError`: the resolver of this reactor cannot be replaced."""
        raise TypeError("the resolver of this reactor cannot be replaced")
