"""From a name to addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from .options import Pins

_KINDS: dict[int | None, tuple[type[IAddress], ...] | None] = {
    4: (IPv4Address,),
    6: (IPv6Address,),
    None: None,
}


@implementer(IHostnameResolver)
class Resolver:
    """Looks up names as a reactor does, but for hosts that are pinned to addresses."""

    def __init__(self, reactor: Any, pins: Pins, ip_version: int | None) -> None:
        self._reactor = reactor
        self._pins = pins
        self._kinds = _KINDS[ip_version]

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Twisted's."""
        kinds = addressTypes or self._kinds
        pinned = self._pins.get((hostName, portNumber)) or self._pins.get(("*", portNumber))
        if pinned is None:
            resolution: IHostResolution = self._reactor.nameResolver.resolveHostName(
                resolutionReceiver, hostName, portNumber, kinds, transportSemantics
            )
            return resolution
        resolution = _Pinned(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for address in (_address(each, portNumber) for each in pinned):
            if kinds is None or isinstance(address, tuple(kinds)):
                resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IHostResolution)
class _Pinned:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing is under way."""


def _address(text: str, port: int) -> IPv4Address | IPv6Address:
    kind = IPv4Address if ipaddress.ip_address(text).version == 4 else IPv6Address
    return kind("TCP", text, port)


@implementer(IReactorPluggableNameResolver)
class ReactorWith:
    """A reactor that looks up names by another resolver; all else is the reactor's own."""

    def __init__(self, reactor: Any, resolver: Resolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Twisted's. Nobody asks for it here."""
        raise TypeError("this reactor has the resolver that it was made with")


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self._addresses: list[str] = []
        self.found: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It is waited for."""

    def addressResolved(self, address: Any) -> None:
        self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        if self._addresses:
            self.found.callback(self._addresses)
        else:
            self.found.errback(DNSLookupError("no address"))


def look_up(resolver: IHostnameResolver, host: str, port: int) -> Deferred[list[str]]:
    """The addresses of a host. Fails with `DNSLookupError` where there is none."""
    receiver = _Receiver()
    resolver.resolveHostName(receiver, host, port)
    return receiver.found
