"""From a URL to an open connection."""

from __future__ import annotations

import os
from typing import Any, TypeVar, overload

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from ..errors import ConnectError
from ..escape import escape
from .options import ClientConfig
from .protocol import ClientFactory, ClientProtocol

_P = TypeVar("_P", bound=ClientProtocol)


@overload
def connect(url: str, *, reactor: Any = None, **settings: Any) -> Deferred[ClientProtocol]: ...


@overload
def connect(
    url: str, protocol: type[_P], *, reactor: Any = None, **settings: Any
) -> Deferred[_P]: ...


def connect(
    url: str,
    protocol: type[Any] = ClientProtocol,
    *,
    reactor: Any = None,
    **settings: Any,
) -> Deferred[Any]:
    """Connect to a WebSocket server.

    Returns a Deferred that fires with the open connection, an instance of
    `protocol`, right after its `onOpen` was called; cancelling it gives up.
    `settings` are the fields of `ClientConfig`. Certificates and host names of
    `wss:` URLs are verified.

    Raises `ConfigError` for a URL or setting that is not allowed. The Deferred
    fails with `ConnectError` (`TLSError` for what is wrong with TLS) where the
    server could not be reached, with `HandshakeError` where it refused.
    """
    if reactor is None:
        from twisted.internet import reactor
    config = ClientConfig(url=url, **settings)
    factory: ClientFactory[Any] = ClientFactory(config, protocol, reactor)
    connecting = _endpoint(config, reactor).connect(factory)
    connected: list[Any] = []

    def give_up(opening: Deferred[Any]) -> None:
        # Before what it is given up for fails in turn, with an error of its own.
        opening.errback(CancelledError())
        if connected:
            connected[0].transport.abortConnection()
        else:
            connecting.cancel()

    opened: Deferred[Any] = Deferred(give_up)
    connecting.addCallbacks(
        connected.append, lambda failure: factory.opening.errback(_unreachable(url, failure))
    )
    factory.opening.addBoth(lambda result: None if opened.called else opened.callback(result))
    return opened


def _endpoint(config: ClientConfig, reactor: Any) -> IStreamClientEndpoint:
    endpoint = HostnameEndpoint(
        reactor, config.host, config.port, timeout=config.connect_timeout or _NO_LIMIT
    )
    if not config.secure:
        return endpoint
    return wrapClientTLS(optionsForClientTLS(config.host), endpoint)


_NO_LIMIT = 86400.0

_REASONS = {
    error.DNSLookupError: "its name is not known",
    error.TimeoutError: "no answer",
    error.ConnectingCancelledError: "given up",
}


def _unreachable(url: str, failure: Failure) -> ConnectError:
    number = getattr(failure.value, "osError", None)
    reason = os.strerror(number).lower() if isinstance(number, int) else str(failure.value)
    for kind, text in _REASONS.items():
        if failure.check(kind):
            reason = text
    return ConnectError(f"cannot connect to {escape(url)}: {escape(reason)}")
