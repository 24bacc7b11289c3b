"""Listen on a service's ports: Twisted's endpoints, and one for a port on every address."""

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

from ..clock import wall_of
from ..config.config import Config
from ..errors import ConfigError, ListenError
from ..escape import escape
from ..private.of_twisted import endpoint_within, tls_options_of, use_tls_options
from .accepting import pause_in_shortage
from .activation import adopt, missing
from .certificate import ClientAuthorities, ServerTLS, read_authorities, read_certificates
from .expiry import ValidUntil, warn_of_expiry
from .proxied import PREFIX, ProxiedEndpoint
from .transports import tls_reason

_BACKLOG = 1024
"""Connections that the kernel holds until they are accepted. Twisted's 50 fill up quickly."""

_ACCEPTED_AT_ONCE = 16
"""Connections that a port accepts in one turn.

Twisted accepts 100, and more while connections wait: the open ones would wait for many
milliseconds.
"""

# Systems raise these for a socket or an address of IPv6 if IPv6 is missing or switched off.
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
    """A TCP port on every address, of IPv6 and IPv4, or of IPv4 alone if there is no IPv6.

    It is one socket, since a free port (0) must have the same number for both. With `tls`, its
    connections speak TLS.
    """

    _reactor: Any
    _port: int
    tls: ServerTLS | None = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Return a Deferred of the listening port (Twisted's `IStreamServerEndpoint`).

        Fails with `OSError`.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        if self.tls is not None:
            factory = TLSMemoryBIOFactory(self.tls, False, factory, self._reactor)
        elsewhere = getattr(self._reactor, "listenAnyAddress", None)
        if elsewhere is not None:  # the reactor of a worker, whose parent process listens
            handed: IListeningPort = elsewhere(factory)
            return handed
        try:
            listener = self._bound(socket.AF_INET6, "::")
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            listener = self._bound(socket.AF_INET, "0.0.0.0")  # noqa: S104 - it is what is asked
        with listener:
            # `adoptStreamPort` works on a copy of the descriptor, so this one is closed.
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
                # The default of the system may be 1 (`net.ipv6.bindv6only`).
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((address, self._port))
        except BaseException:
            listener.close()
            raise
        return listener


def endpoints(config: Config, reactor: Any) -> list[tuple[str, IStreamServerEndpoint]]:
    """Return the endpoints that a configuration names, each with the option that names it.

    Raises `ConfigError` for a string that does not describe an endpoint, and for files that
    cannot be read.
    """
    named: list[tuple[str, IStreamServerEndpoint]] = []
    authorities = _authorities_of(config)
    if config.port is not None:
        tls = _tls_of_port(config, authorities) if config.tls_cert else None
        named.append((f"--port {config.port}", AnyAddressEndpoint(reactor, config.port, tls)))
    return named + [endpoint("--listen", each, reactor, authorities) for each in config.listen]


def _authorities_of(config: Config) -> ClientAuthorities | None:
    if not config.tls_client_ca:
        return None
    return read_authorities(config.tls_client_ca, config.asks_certificates_of_all)


def _tls_of_port(config: Config, authorities: ClientAuthorities | None) -> ServerTLS:
    return read_certificates(config.tls_cert, config.tls_key, authorities)


def _name(option: str, description: str) -> str:
    return f"{option} {escape(description)}"


def endpoint(
    option: str, description: str, reactor: Any, authorities: ClientAuthorities | None = None
) -> tuple[str, IStreamServerEndpoint]:
    """Return the name of an endpoint and the endpoint itself.

    `option` is the option whose value is `description`; the name has both. An `ssl:` endpoint asks
    clients for certificates of `authorities`. Raises `ConfigError` for a description that does not
    describe an endpoint.
    """
    name = _name(option, description)
    try:
        parsed: IStreamServerEndpoint = serverFromString(reactor, description.removeprefix(PREFIX))
        adopt(parsed)
        secure = _secure_endpoint(parsed)
        if secure is not None:
            options = tls_options_of(secure)
            if authorities is not None:
                # Before `ServerTLS` makes the context, which cannot be changed later.
                authorities.ask(options)
            use_tls_options(secure, ServerTLS(options, authorities=authorities))
    except Exception as error:
        # Endpoint parsers, those of plugins too, raise errors of any kind.
        if absent := missing(description, error):
            raise ConfigError(f"{name}: {absent}") from error
        raise ConfigError(
            f"{name}: is not an endpoint to listen on, {reason(error)};"
            " give one such as tcp:8080, unix:ws.sock or ssl:443:privateKey=key.pem"
        ) from error
    if description.startswith(PREFIX):
        parsed = ProxiedEndpoint(name, parsed, reactor)
    return name, parsed


def _secure_endpoint(endpoint: Any) -> Any:
    """Return the `ssl:` endpoint that this endpoint is or wraps, or None."""
    while (inner := endpoint_within(endpoint)) is not None:
        endpoint = inner
    return (
        endpoint if isinstance(tls_options_of(endpoint), CertificateOptions | ServerTLS) else None
    )


def tls_of(endpoint: object) -> ServerTLS | None:
    """Return the TLS of an endpoint that `endpoints` returned, or None.

    TLS of a plugin's endpoint is unknown here, and None too.
    """
    if isinstance(endpoint, AnyAddressEndpoint):
        return endpoint.tls
    secure = _secure_endpoint(endpoint)
    return None if secure is None else tls_options_of(secure)


class Renewal:
    """Reads the certificates of `--port` and of `ssl:` endpoints again at a reload.

    `named` has the names and endpoints that `endpoints` and `endpoint` returned. With `warns`, the
    log has a line for each certificate that ends soon, at each reload.
    """

    def __init__(
        self, named: list[tuple[str, IStreamServerEndpoint]], reactor: Any, warns: bool = True
    ) -> None:
        self._warns = warns
        # A list, since two endpoints may have the same name if their port is 0.
        self._tls = [(name, tls) for name, endpoint in named if (tls := tls_of(endpoint))]
        self._reactor = reactor

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """Read the certificates, and return a function that puts them into effect.

        That function returns a line for each port whose certificates changed. Raises `ConfigError`
        for a certificate that cannot be used; nothing has changed then.
        """
        authorities = _authorities_of(config)
        read = [(name, tls, self._read(name, config, authorities)) for name, tls in self._tls]
        commits = [(name, tls.prepare(other)) for name, tls, other in read]

        def commit() -> list[str]:
            said = [(name, each()) for name, each in commits]
            if self._warns:
                self.warn()
            return [f"certificate of {name} ({what})" for name, what in said if what]

        return commit

    def expiries(self) -> list[ValidUntil]:
        """Return the ends of all certificates in use."""
        return [each for name, tls in self._tls for each in tls.expiries(name)]

    def warn(self) -> None:
        """Log a line for each certificate that ends soon."""
        warn_of_expiry(self.expiries(), wall_of(self._reactor)())

    def _read(self, name: str, config: Config, authorities: ClientAuthorities | None) -> ServerTLS:
        if name.startswith("--port ") and config.tls_cert:
            return _tls_of_port(config, authorities)
        described = [*(("--listen", each) for each in config.listen), ("--admin", config.admin)]
        ((option, description),) = {each for each in described if _name(*each) == name}
        asked = authorities if option == "--listen" else None
        secure: Any = _secure_endpoint(endpoint(option, description, self._reactor, asked)[1])
        tls: ServerTLS = tls_options_of(secure)
        return tls


def reason(error: BaseException) -> str:
    """Return why a call of the system failed, in a few words of one line."""
    cause = getattr(error, "socketError", error)  # Twisted's CannotListenError
    if isinstance(cause, SSL.Error | crypto.Error):
        return f"its key and certificate cannot be read as PEM ({tls_reason(cause)})"
    if isinstance(cause, OSError) and cause.strerror:
        # Twisted locks a unix socket by a symbolic link, whose path is the second one.
        path = cause.filename2 or cause.filename
        named = f" ({os.fsdecode(path)})" if isinstance(path, str | bytes) else ""
        return escape(f"{cause.strerror}{named}")
    return escape(str(cause)) or type(cause).__name__


def listen(
    named: list[tuple[str, IStreamServerEndpoint]], factory: IProtocolFactory
) -> list[IListeningPort]:
    """Listen on all endpoints or on none, and return their ports.

    `named` has the option and the endpoint of each. Raises `ListenError` for the first endpoint
    that cannot listen, after the ports before it were closed.
    """
    ports: list[IListeningPort] = []
    for option, endpoint in named:
        outcome: list[Any] = []
        endpoint.listen(factory).addBoth(outcome.append)
        if not outcome:
            problem = "does not listen at once; use an endpoint that does"
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
    """Limit the connections that a port accepts in one turn. Ports of plugins have no limit."""
    if not isinstance(port, TCPPort):
        return
    read: Callable[[], object] = port.doRead

    def do_read() -> None:
        # Before each read, since Twisted raises the number after each.
        port.numberAccepts = min(port.numberAccepts, _ACCEPTED_AT_ONCE)
        read()

    port.doRead = do_read  # type: ignore[method-assign]
