"""The way to a server: which endpoints, one through the other."""

from __future__ import annotations

import os
from typing import Any

import attrs
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from ..escape import escape
from .addresses import ReactorWith, Resolver, look_up
from .negotiation import NegotiationError, http_connect, socks5
from .options import ClientConfig
from .proxies import Proxy, proxy_for
from .security import HostSecurity, Security
from .trace import Trace
from .tunnel import TunnelEndpoint

_NO_LIMIT = 86400.0


@attrs.frozen
class Way:
    """How to reach a server. `security` is None where no TLS is spoken with it."""

    endpoint: IStreamClientEndpoint
    security: HostSecurity | None
    proxy: Proxy | None


class ProxyError(Exception):
    """What went wrong with a proxy, in words that name it."""


class ProxyTLSError(ProxyError):
    """What went wrong with the TLS of a proxy."""


def way_to(config: ClientConfig, reactor: Any, trace: Trace) -> Way:
    """The way that the settings tell. Raises `ConfigError` where they do not tell one.

    It has the connection that the network gives: TLS, if any, is yet to be spoken.
    """
    target = config.target
    proxy = proxy_for(target, config.proxy, os.environ)
    resolver = Resolver(reactor, config.pins, config.ip_version)
    resolving = ReactorWith(reactor, resolver)
    # Each of these is for one address; all of it is for `connect` to bound.
    timeout = config.connect_timeout or _NO_LIMIT
    endpoint: Any
    if target.socket is not None:
        endpoint = UNIXClientEndpoint(reactor, target.socket, timeout=timeout)
    elif proxy is None:
        endpoint = HostnameEndpoint(resolving, target.host, target.port, timeout=timeout)
    else:
        to_proxy: Any = HostnameEndpoint(resolving, proxy.host, proxy.port, timeout=timeout)
        security = None
        if proxy.scheme == "https":
            # Who we are is for the server to know, and what is said to the proxy is
            # read by whoever it is: neither our certificate nor `insecure` is for it.
            security = Security(ca=config.ca).for_host(proxy.host)
            to_proxy = wrapClientTLS(security, to_proxy)
        endpoint = _ThroughProxy(proxy, to_proxy, security, config, resolver, trace)
    if not target.secure:
        return Way(endpoint, None, proxy)
    security = Security.of(config).for_host(target.host)
    return Way(wrapClientTLS(security, endpoint), security, proxy)


@implementer(IStreamClientEndpoint)
class _ThroughProxy:
    """Connects through a proxy. Fails with `ProxyError`."""

    def __init__(
        self,
        proxy: Proxy,
        to_proxy: IStreamClientEndpoint,
        security: HostSecurity | None,
        config: ClientConfig,
        resolver: Resolver,
        trace: Trace,
    ) -> None:
        self._proxy = proxy
        self._to_proxy = to_proxy
        self._security = security
        self._target = config.target
        self._resolver = resolver
        self._trace = trace

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Twisted's."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        host = self._target.host
        if self._proxy.scheme == "socks5":
            addresses = await look_up(self._resolver, host, self._target.port)
            # It tries one. Of the two kinds this is the one that nearly all can reach.
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
            raise ProxyError(f"the proxy {self._proxy}: {reason(Failure(problem))}") from None


_REASONS = {
    error.DNSLookupError: "its name is not known",
    error.TimeoutError: "no answer",
    error.ConnectingCancelledError: "given up",
    error.ConnectionClosed: "it broke off",
}


def reason(failure: Failure) -> str:
    """Why somebody could not be reached, printable."""
    for kind, text in _REASONS.items():
        if failure.check(kind):
            return text
    number = getattr(failure.value, "osError", None)
    return escape(os.strerror(number).lower() if isinstance(number, int) else str(failure.value))
