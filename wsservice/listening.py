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
from twisted.internet.ssl import CertificateOptions
from twisted.internet.tcp import Port as TCPPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from .accepting import pause_in_shortage
from .activation import adopt, missing
from .certificate import ServerTLS, read_certificate
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

    One socket, since a free port (0) must be the same for both. With `tls` it is one of TLS.
    """

    _reactor: Any
    _port: int
    tls: ServerTLS | None = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """As `IStreamServerEndpoint` has it. Fails with `OSError`."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        if self.tls is not None:
            factory = TLSMemoryBIOFactory(self.tls, False, factory, self._reactor)
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
        tls = None
        if config.tls_cert is not None:
            tls = ServerTLS(read_certificate(config.tls_cert, config.tls_key))
        named.append((f"--port {config.port}", AnyAddressEndpoint(reactor, config.port, tls)))
    return named + [endpoint("--listen", each, reactor) for each in config.listen]


def _name(option: str, description: str) -> str:
    return f"{option} {escape(description)}"


def endpoint(option: str, description: str, reactor: Any) -> tuple[str, IStreamServerEndpoint]:
    """The endpoint that an option's value names, and both by name. Raises `ConfigError`."""
    name = _name(option, description)
    try:
        parsed: IStreamServerEndpoint = serverFromString(reactor, description)
        adopt(parsed)
        secure = _secure_endpoint(parsed)
        if secure is not None:
            secure._sslContextFactory = ServerTLS(secure._sslContextFactory)
    except Exception as error:
        # Every endpoint parser, a plugin's too, raises what it likes.
        if absent := missing(description, error):
            raise ConfigError(f"{name}: {absent}") from error
        raise ConfigError(
            f"{name}: is no endpoint that can be listened on, {reason(error)};"
            " give one such as tcp:8080, unix:ws.sock or ssl:443:privateKey=key.pem"
        ) from error
    return name, parsed


def _secure_endpoint(endpoint: Any) -> Any:
    """The endpoint of `ssl:` that this one is, or is around; None where there is none."""
    while (inner := getattr(endpoint, "_wrappedEndpoint", None)) is not None:
        endpoint = inner
    # What a plugin makes has TLS of its own.
    options = getattr(endpoint, "_sslContextFactory", None)
    return endpoint if isinstance(options, CertificateOptions | ServerTLS) else None


def tls_of(endpoint: object) -> ServerTLS | None:
    """The TLS of an endpoint that `endpoints` gave, None where it has none that is known here."""
    if isinstance(endpoint, AnyAddressEndpoint):
        return endpoint.tls
    secure = _secure_endpoint(endpoint)
    return None if secure is None else secure._sslContextFactory


class Renewal:
    """Reads the certificates of endpoints again: of `--port`, and of `ssl:`.

    `named` is what `endpoints` and `endpoint` gave.
    """

    def __init__(self, named: list[tuple[str, IStreamServerEndpoint]], reactor: Any) -> None:
        # The same may be named twice, with a port of 0.
        self._tls = [(name, tls) for name, endpoint in named if (tls := tls_of(endpoint))]
        self._reactor = reactor

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `reloading.Part`. What is put in effect names the certificates that are others."""
        commits = [(name, tls.prepare(self._read(name, config))) for name, tls in self._tls]

        def commit() -> list[str]:
            said = [(name, each()) for name, each in commits]
            return [f"certificate of {name} ({what})" for name, what in said if what]

        return commit

    def _read(self, name: str, config: Config) -> CertificateOptions:
        if name.startswith("--port ") and config.tls_cert is not None:
            return read_certificate(config.tls_cert, config.tls_key)
        described = [*(("--listen", each) for each in config.listen), ("--admin", config.admin)]
        ((option, description),) = {each for each in described if _name(*each) == name}
        secure: Any = _secure_endpoint(endpoint(option, description, self._reactor)[1])
        options: CertificateOptions = secure._sslContextFactory.options
        return options


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
