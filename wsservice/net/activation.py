"""Take over sockets on which systemd listens, for endpoints such as `systemd:domain=INET:index=0`.

Twisted finds the sockets. This module corrects how Twisted treats unix sockets, and replaces its
errors for sockets that are missing or of the wrong kind.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger

from ..escape import escape
from ..private.of_twisted import Borrowed, endpoint_within, handed_sockets
from .transports import log_prefix

_log = Logger(namespace="wsservice")


class UNIXPort(Borrowed, unix.Port):
    """A port on a unix socket that belongs to systemd and outlives this process.

    Twisted would change the file's mode so that everybody may write to it. At the end it would
    remove the file and shut the socket down, so clients could not reach a restarted service.
    """

    def __init__(self, reactor: Any, given: socket.socket, factory: IProtocolFactory) -> None:
        super().__init__(given.getsockname(), factory, reactor=reactor)
        self.socket: Any = given
        self.fileno = given.fileno  # type: ignore[method-assign]

    def startListening(self) -> None:
        """Begin to accept connections. The socket listens already, so nothing is bound.

        Twisted calls this (`IListeningPort`).
        """
        path = os.fsdecode(self.getHost().name)
        _log.info("{factory} starting on {path}", factory=log_prefix(self.factory), path=repr(path))
        self.factory.doStart()  # type: ignore[union-attr]
        self.connected = True
        self.numberAccepts = 1  # Twisted's Port raises this while more connections arrive
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """Close this process's descriptor. Twisted calls this at the end of the port."""
        # Not `unix.Port`'s, which removes the file.
        tcp.Port.connectionLost(self, reason)


class _Adopting:
    """A reactor that adopts a unix socket of systemd without changing it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def adoptStreamPort(self, fd: int, family: int, factory: IProtocolFactory) -> IListeningPort:
        """Return a port that listens on a descriptor (Twisted's `IReactorSocket`)."""
        port: IListeningPort
        if family == socket.AF_UNIX:
            given = socket.fromfd(fd, family, socket.SOCK_STREAM)
            port = UNIXPort(self._reactor, given, factory)
            port.startListening()
        else:
            port = self._reactor.adoptStreamPort(fd, family, factory)
        return port


def adopt(endpoint: IStreamServerEndpoint) -> None:
    """Make a `systemd:` endpoint take its socket over unchanged. Other endpoints are left alone.

    Raises `ValueError` if the socket has another address family than the endpoint says, or does
    not listen.
    """
    while (inner := endpoint_within(endpoint)) is not None:
        endpoint = inner
    if not isinstance(endpoint, AdoptedStreamServerEndpoint):
        return
    _check(endpoint.fileno, endpoint.addressFamily)
    endpoint.reactor = _Adopting(endpoint.reactor)


def _check(descriptor: int, family: int) -> None:
    # A copy of the descriptor, since leaving the block closes it.
    with socket.socket(fileno=os.dup(descriptor)) as given:
        if given.family != family:
            name = given.family.name.removeprefix("AF_")
            raise ValueError(f"the socket that systemd handed over is of domain={name}")
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(
                "the socket that systemd handed over does not accept connections;"
                " set ListenStream= and Accept=no in its unit"
            )


def missing(description: str, error: BaseException) -> str | None:
    """Return what is wrong if an endpoint names a socket that systemd did not hand over.

    `error` is what Twisted's parser raised for `description`. Returns None for any other error.
    """
    if not re.match(r"(\w+:)*systemd:", description) or not isinstance(error, LookupError):
        return None
    handed: Any = handed_sockets()
    count = len(handed.inheritedDescriptors())
    if not count:
        return (
            "systemd handed no socket over; start the service from a .socket unit,"
            " or with systemd-socket-activate --fdname=NAME"
        )
    names = escape(", ".join(handed.inheritedNamedDescriptors()))
    return f"systemd handed no such socket over; give index=0 to {count - 1}, or name={names}"
