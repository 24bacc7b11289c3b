"""Build the endpoint of a server, directly or through a proxy, with or without TLS."""

from __future__ import annotations

import os
import socket
from typing import Any

import attrs
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import ConfigError
from ..escape import escape
from ..http.hostname import address_of
from ..net.dialing import HostEndpoint
from .addresses import Resolver, look_up
from .options import ClientConfig
from .security import HostSecurity, Security
from .trace import HandshakeTrace
from .web.negotiation import NegotiationError, http_connect, socks5
from .web.proxies import Proxy, proxy_for
from .web.tunnel import TunnelEndpoint

_NO_LIMIT = 86400.0


@attrs.frozen
class Way:
    """The way to a server. `security` is None without TLS to the server."""

    endpoint: IStreamClientEndpoint
    security: HostSecurity | None
    proxy: Proxy | None


class ProxyError(Exception):
    """A proxy failed. The text names it."""


class ProxyTLSError(ProxyError):
    """TLS with a proxy failed."""


def way_to(config: ClientConfig, reactor: Any, trace: HandshakeTrace) -> Way:
    """Return the way to the server of these settings. Raises `ConfigError`.

    The endpoint connects the network and wraps TLS around it; the handshake of TLS happens later.
    """
    target = config.target
    proxy = proxy_for(target, config.proxy, os.environ)
    resolver = Resolver(reactor, config.pins, config.ip_version)
    # Each of these limits is for one address; `connect` bounds the whole attempt.
    timeout = config.connect_timeout or _NO_LIMIT
    endpoint: Any
    if target.socket is not None:
        endpoint = UNIXClientEndpoint(reactor, target.socket, timeout=timeout)
    elif proxy is None:
        _check_kind(target.host, config.ip_version)
        endpoint = HostEndpoint(reactor, target.host, target.port, timeout, resolver)
    else:
        _check_kind(proxy.host, config.ip_version)
        to_proxy: Any = HostEndpoint(reactor, proxy.host, proxy.port, timeout, resolver)
        security = None
        if proxy.scheme == "https":
            # The proxy may read all that is sent to it. So it gets no client certificate, and
            # `insecure`, which is for the server, does not apply to it.
            security = Security(ca=config.ca).for_host(proxy.host)
            to_proxy = wrapClientTLS(security, to_proxy)
        endpoint = _ThroughProxy(proxy, to_proxy, security, config, resolver, trace)
    if not target.secure:
        return Way(endpoint, None, proxy)
    security = Security.of(config).for_host(target.host)
    return Way(wrapClientTLS(security, endpoint), security, proxy)


def _check_kind(host: str, ip_version: int | None) -> None:
    address = address_of(host)
    if address is not None and ip_version not in (None, address.version):
        raise ConfigError(
            f"--ipv{ip_version}: {host} is an IPv{address.version} address;"
            f" give a name or an IPv{ip_version} address, or leave --ipv{ip_version} out"
        )


@implementer(IStreamClientEndpoint)
class _ThroughProxy:
    """Connect through a proxy. Fails with `ProxyError`."""

    def __init__(
        self,
        proxy: Proxy,
        to_proxy: IStreamClientEndpoint,
        security: HostSecurity | None,
        config: ClientConfig,
        resolver: Resolver,
        trace: HandshakeTrace,
    ) -> None:
        self._proxy = proxy
        self._to_proxy = to_proxy
        self._security = security
        self._target = config.target
        self._ip_version = config.ip_version
        self._resolver = resolver
        self._trace = trace

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect. Twisted calls it."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        host = self._target.host
        if self._proxy.scheme == "socks5":
            addresses = await look_up(self._resolver, host, self._target.port)
            # The proxy tries only one address, and nearly all proxies can reach IPv4.
            host = next((each for each in addresses if ":" not in each), addresses[0])
        self._trace.note(f"through the proxy {escape(str(self._proxy))}")
        ask = http_connect if self._proxy.scheme.startswith("http") else socks5
        tunnel = TunnelEndpoint(
            self._to_proxy, lambda: ask(self._proxy, host, self._target.port, self._trace)
        )
        try:
            return await tunnel.connect(factory)
        except (SSL.Error, VerificationError) as problem:
            why = self._security.why(problem) if self._security else ""
            raise ProxyTLSError(f"TLS with the proxy {self._proxy} failed, {why}") from None
        except (
            NegotiationError,
            error.ConnectError,
            error.ConnectionClosed,
            error.DNSLookupError,
        ) as problem:
            why = reason(Failure(problem), self._ip_version)
            raise ProxyError(f"the proxy {self._proxy}: {why}") from None


_REASONS = {
    error.DNSLookupError: "its name is not known",
    error.TimeoutError: "no answer",
    error.ConnectingCancelledError: "given up",
    error.ConnectionClosed: "it broke off",
}


def reason(failure: Failure, ip_version: int | None = None) -> str:
    """Return a printable reason why a host could not be reached, by `ip_version` only, if given."""
    if ip_version is not None and failure.check(error.DNSLookupError):
        return f"its name is not known, or has no IPv{ip_version} address"
    for kind, text in _REASONS.items():
        if failure.check(kind):
            return text
    if failure.check(socket.gaierror):  # of an address, whose zone is not of this machine
        return "this machine has no such address, or zone of one"
    number = getattr(failure.value, "osError", None)
    if isinstance(number, int):
        return escape(os.strerror(number).lower())
    return escape(str(failure.value)) or type(failure.value).__name__
