"""Resolve host names to addresses."""

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
    IResolutionReceiver,
)
from zope.interface import implementer

from ..net.dialing import resolved
from .options import Pins

_KINDS: dict[int | None, tuple[type[IAddress], ...] | None] = {
    4: (IPv4Address,),
    6: (IPv6Address,),
    None: None,
}


@implementer(IHostnameResolver)
class Resolver:
    """Look up names as the reactor does, except for hosts that are pinned to addresses."""

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
        """Look up a name, or use its pin. Twisted calls it."""
        kinds = addressTypes or self._kinds
        name = hostName.removesuffix(".")
        pinned = self._pins.get((name, portNumber)) or self._pins.get(("*", portNumber))
        if pinned is None:
            resolution: IHostResolution = self._reactor.nameResolver.resolveHostName(
                resolutionReceiver, hostName, portNumber, kinds, transportSemantics
            )
            return resolution
        addresses: list[Any] = [_address(each, portNumber) for each in pinned]
        if kinds is not None:
            addresses = [each for each in addresses if isinstance(each, tuple(kinds))]
        return resolved(resolutionReceiver, hostName, addresses)


def _address(text: str, port: int) -> IPv4Address | IPv6Address:
    kind = IPv4Address if ipaddress.ip_address(text).version == 4 else IPv6Address
    return kind("TCP", text, port)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self._addresses: list[str] = []
        self.found: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing: the resolution is not cancelled."""

    def addressResolved(self, address: Any) -> None:
        self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        if self._addresses:
            self.found.callback(self._addresses)
        else:
            self.found.errback(DNSLookupError("no address"))


def look_up(resolver: IHostnameResolver, host: str, port: int) -> Deferred[list[str]]:
    """Return the addresses of a host. Fails with `DNSLookupError` if it has none."""
    receiver = _Receiver()
    resolver.resolveHostName(receiver, host, port)
    return receiver.found
