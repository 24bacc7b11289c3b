"""Where a service listens: Twisted's endpoints, and one for a port on every address."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.tcp import Port as TCPPort
from zope.interface import implementer

from .accepting import pause_in_shortage
from .activation import adopt, missing
from .config import Config
from .errors import ConfigError, ListenError
from .escape import escape
from .transports import tls_reason

_BACKLOG = 1024
"""Connections that the kernel holds until they are accepted; Twisted's 50 is soon full."""

_ACCEPTED_AT_ONCE = 16
"""Connections that are accepted before the others have their turn. Twisted takes 100, and
more when that was not enough: many milliseconds."""

_NO_IPV6 = {
    errno.EAFNOSUPPORT,
    errno.EADDRNOTAVAIL,
    errno.EPROTONOSUPPORT,
    errno.ENOPROTOOPT,
    errno.EINVAL,
}


@implementer(IStreamServerEndpoint)
@attrs.frozen
class AnyAddressEndpoint:
    """A TCP port on every address, IPv6 and IPv4, or IPv4 alone where there is no IPv6.

    One socket, since a free port (0) must be the same for both.
    """

    _reactor: Any
    _port: int

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """As `IStreamServerEndpoint` has it. Fails with `OSError`."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        try:
            listener = self._bound(socket.AF_INET6, "::")
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            listener = self._bound(socket.AF_INET, "0.0.0.0")  # noqa: S104 - it is what is asked
        with listener:
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            port: IListeningPort = self._reactor.adoptStreamPort(
                listener.fileno(), listener.family, factory
            )
            return port

    def _bound(self, family: int, address: str) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((address, self._port))
        except BaseException:
            listener.close()
            raise
        return listener


def endpoints(config: Config, reactor: Any) -> list[tuple[str, IStreamServerEndpoint]]:
    """The endpoints that a configuration names, each with the option that names it.

    Raises `ConfigError` for a string that is no endpoint, or whose files cannot be read.
    """
    named: list[tuple[str, IStreamServerEndpoint]] = []
    if config.port is not None:
        named.append((f"--port {config.port}", AnyAddressEndpoint(reactor, config.port)))
    for description in config.listen:
        option = f"--listen {escape(description)}"
        try:
            endpoint = serverFromString(reactor, description)
            adopt(endpoint)
            named.append((option, endpoint))
        except Exception as error:
            # Every endpoint parser, a plugin's too, raises what it likes.
            if absent := missing(description, error):
                raise ConfigError(f"{option}: {absent}") from error
            raise ConfigError(
                f"{option}: is no endpoint that can be listened on, {reason(error)};"
                " give one such as tcp:8080, unix:ws.sock or ssl:443:privateKey=key.pem"
            ) from error
    return named


def reason(error: BaseException) -> str:
    """Why something of the system's failed, in a few words of one line."""
    cause = getattr(error, "socketError", error)  # Twisted's CannotListenError
    if isinstance(cause, SSL.Error | crypto.Error):
        return f"its key and certificate cannot be read as PEM ({tls_reason(cause)})"
    if isinstance(cause, OSError) and cause.strerror:
        # The second, where there are two: Twisted's lock of a unix socket is a link.
        path = cause.filename2 or cause.filename
        named = f" ({os.fsdecode(path)})" if isinstance(path, str | bytes) else ""
        return escape(f"{cause.strerror}{named}")
    return escape(str(cause)) or type(cause).__name__


def listen(
    named: list[tuple[str, IStreamServerEndpoint]], factory: IProtocolFactory
) -> list[IListeningPort]:
    """Listen on all of them, or on none: raises `ListenError` for the first that cannot be."""
    ports: list[IListeningPort] = []
    for option, endpoint in named:
        outcome: list[Any] = []
        endpoint.listen(factory).addBoth(outcome.append)
        if not outcome:
            problem = "does not listen at once, so that it cannot be told whether it can"
        elif IListeningPort.providedBy(outcome[0]):
            _accept_few(outcome[0])
            pause_in_shortage(outcome[0])
            ports.append(outcome[0])
            continue
        else:
            problem = f"cannot be listened on, {reason(outcome[0].value)}"
        for port in ports:
            port.stopListening()
        raise ListenError(f"{option}: {problem}")
    return ports


def _accept_few(port: Any) -> None:
    """Bound what a port accepts at one go, where it is one of Twisted's own."""
    if not isinstance(port, TCPPort):
        return
    read: Callable[[], object] = port.doRead

    def do_read() -> None:
        port.numberAccepts = min(port.numberAccepts, _ACCEPTED_AT_ONCE)
        read()

    port.doRead = do_read  # type: ignore[method-assign]
