"""Sockets that systemd listens on and hands over: endpoints such as `systemd:domain=INET:index=0`.

Twisted finds them. What it would do with them, or say where there are none, is not
in every case what it should.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    _SystemdParser,
    _WrapperServerEndpoint,
)
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger

from .escape import escape

_log = Logger(namespace="wsservice")


class UNIXPort(unix.Port):
    """A unix socket that is systemd's, and outlives this process.

    Twisted would let everybody write to it, remove its file at the end, and shut
    it down, so that nobody reaches the service when it is started again.
    """

    _shouldShutdown = False

    def startListening(self) -> None:
        """As `IListeningPort` has it. The socket listens already."""
        given: Any = self._preexistingSocket
        self.socket, self._preexistingSocket = given, None
        self.fileno = given.fileno  # type: ignore[method-assign]
        _log.info(
            "{factory} starting on {path}",
            factory=self._getLogPrefix(self.factory),
            path=repr(os.fsdecode(self._bindPath)),
        )
        self.factory.doStart()  # type: ignore[union-attr]
        self.connected = True
        self.numberAccepts = 1  # of which Twisted's Port makes more where more come
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """It is this process's no more."""
        tcp.Port.connectionLost(self, reason)


class _Adopting:
    """A reactor that leaves a unix socket of systemd's as it is."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def adoptStreamPort(self, fd: int, family: int, factory: IProtocolFactory) -> IListeningPort:
        """As `IReactorSocket` has it."""
        port: IListeningPort
        if family == socket.AF_UNIX:
            port = UNIXPort._fromListeningDescriptor(self._reactor, fd, factory)
            port.startListening()
        else:
            port = self._reactor.adoptStreamPort(fd, family, factory)
        return port


def adopt(endpoint: IStreamServerEndpoint) -> None:
    """Have an endpoint take a socket of systemd's over as it should; any other is left alone.

    Raises `ValueError` for a socket that is not what the endpoint says.
    """
    while isinstance(endpoint, _WrapperServerEndpoint):
        endpoint = endpoint._wrappedEndpoint
    if not isinstance(endpoint, AdoptedStreamServerEndpoint):
        return
    _check(endpoint.fileno, endpoint.addressFamily)
    endpoint.reactor = _Adopting(endpoint.reactor)


def _check(descriptor: int, family: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as given:
        if given.family != family:
            name = given.family.name.removeprefix("AF_")
            raise ValueError(f"the socket that systemd handed over is of domain={name}")
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(
                "the socket that systemd handed over is not one to accept connections on;"
                " its unit wants ListenStream= and Accept=no"
            )


def missing(description: str, error: BaseException) -> str | None:
    """What is wrong where an endpoint names a socket that systemd did not hand over."""
    if not re.match(r"(\w+:)*systemd:", description) or not isinstance(error, LookupError):
        return None
    handed: Any = _SystemdParser._sddaemon
    count = len(handed.inheritedDescriptors())
    if not count:
        return (
            "systemd handed no socket over; start the service by a .socket unit,"
            " or by systemd-socket-activate --fdname=NAME"
        )
    names = escape(", ".join(handed.inheritedNamedDescriptors()))
    return f"systemd handed no such socket over; give index=0 to {count - 1}, or name={names}"
