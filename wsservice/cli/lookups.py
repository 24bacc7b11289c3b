"""Look up host names in threads that the end of the program does not wait for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

_MOST_THREADS = 4

_ADDRESSES: dict[int, Callable[..., IPv4Address | IPv6Address]] = {
    socket.AF_INET: IPv4Address,
    socket.AF_INET6: IPv6Address,
}


@implementer(IHostnameResolver)
class Lookups:
    """Look up names by the system's resolver, as Twisted does.

    A reactor that stops waits for its own threads. The system's resolver may take half a minute if
    no DNS server answers, so that `--timeout` and Ctrl-C would not work.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, _MOST_THREADS, "lookups")
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._pool.start()

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Start to look up a name. Twisted calls it."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        looking = deferToThreadPool(
            self._reactor, self._pool, _look_up, hostName, portNumber, addressTypes
        )

        def found(addresses: list[IPv4Address | IPv6Address]) -> None:
            for each in addresses:
                resolutionReceiver.addressResolved(each)
            resolutionReceiver.resolutionComplete()

        looking.addCallback(found)
        return resolution


def _look_up(
    host: str, port: int, kinds: Sequence[type[IAddress]] | None
) -> list[IPv4Address | IPv6Address]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # of a name, Python's codec raises the latter
        return []
    addresses = [
        _ADDRESSES[family]("TCP", *where[:2])
        for family, _, _, _, where in answers
        if family in _ADDRESSES
    ]
    return [each for each in addresses if kinds is None or isinstance(each, tuple(kinds))]


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: a thread that looks up a name cannot be stopped. Its answer is ignored."""
