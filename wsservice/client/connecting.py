"""From a URL to an open connection."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import TimeoutError as NoAnswer
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigError, ConnectError, HandshakeError, TLSError
from ..escape import escape, escape_within
from .endpoints import ProxyError, ProxyTLSError, Way, reason, way_to
from .opening import RedirectedError
from .options import ClientConfig
from .protocol import ClientFactory, ClientProtocol
from .redirects import follow
from .stream import ClientConnection
from .trace import Trace

_LONGEST_SHOWN = 600
"""Octets that are shown of why a redirect is not followed."""

_log = Logger(namespace="wsservice")

_P = TypeVar("_P", bound=ClientProtocol)


@overload
def connect(url: str, *, reactor: Any = None, **settings: Any) -> Deferred[ClientConnection]: ...


@overload
def connect(
    url: str, protocol: type[_P], *, reactor: Any = None, **settings: Any
) -> Deferred[_P]: ...


def connect(
    url: str,
    protocol: type[Any] = ClientConnection,
    *,
    reactor: Any = None,
    **settings: Any,
) -> Deferred[Any]:
    """Connect to a WebSocket server.

    Returns a Deferred that fires with the open connection, an instance of
    `protocol`, right after its `onOpen` was called; cancelling it gives up. A
    `ClientConnection`, the default, is a stream: `async for message in connection`.
    `settings` are the fields of `ClientConfig`. Certificates and host names of
    `wss:` URLs are verified.

    Raises `ConfigError` for a URL or setting that is not allowed. The Deferred
    fails with `ConnectError` (`TLSError` for what is wrong with TLS) where the
    server could not be reached, with `HandshakeError` where it refused.
    """
    if reactor is None:
        from twisted.internet import reactor
    return open_connection(ClientConfig(url=url, **settings), protocol, reactor)


def open_connection(config: ClientConfig, protocol: type[_P], reactor: Any) -> Deferred[_P]:
    """As `connect`, for settings that were made before."""
    opening = _Opening(protocol, reactor)
    opening.begin(config)
    return opening.opened


class _Opening(Generic[_P]):
    """Connects, and goes where it is sent."""

    def __init__(self, protocol: type[_P], reactor: Any) -> None:
        self._protocol = protocol
        self._reactor = reactor
        self._redirects = 0
        self._connecting: Deferred[Any]
        self._connected: Any = None
        self.opened: Deferred[_P] = Deferred(self._give_up)

    def begin(self, config: ClientConfig) -> None:
        """Try to connect. Raises `ConfigError` for settings that cannot be."""
        trace = Trace(config.trace)
        way = way_to(config, self._reactor, trace)
        if config.insecure and way.security is not None:
            _log.warn("{url}: the server's certificate is not verified", url=escape(config.url))
        self._connected = None
        factory = ClientFactory(config, self._protocol, self._reactor, way.security)
        trace.note(f"connecting to {escape(config.url)}")
        self._connecting = way.endpoint.connect(factory)
        if config.connect_timeout:
            self._connecting.addTimeout(config.connect_timeout, self._reactor, _timed_out)
        self._connecting.addCallbacks(
            self._reached, lambda failure: self._end(_unreachable(config.url, way, failure))
        )
        factory.opening.addCallbacks(self._end, self._not_opened, errbackArgs=(config,))

    def _reached(self, connection: Any) -> None:
        self._connected = connection

    def _not_opened(self, failure: Failure, config: ClientConfig) -> None:
        redirect = failure.value
        if self.opened.called or not isinstance(redirect, RedirectedError):
            self._end(failure)
            return
        self._redirects += 1
        try:
            if self._redirects > config.max_redirects:
                raise ConfigError(f"{config.max_redirects} redirects are enough, --max-redirects")
            self.begin(follow(config, redirect.location))
        except ConfigError as error:
            said = (
                f"{config.url} leads elsewhere: {error}; {redirect.status} to {redirect.location}"
            )
            shown, cut = escape_within(said, _LONGEST_SHOWN)
            self._end(Failure(HandshakeError(f"{shown}{'...' if cut else ''}", redirect.status)))

    def _end(self, result: Any) -> None:
        if not self.opened.called:
            self.opened.callback(result)

    def _give_up(self, opened: Deferred[Any]) -> None:
        # Before what it is given up for fails in turn, with an error of its own.
        opened.errback(CancelledError())
        if self._connected is not None:
            self._connected.transport.abortConnection()
        else:
            self._connecting.cancel()


def _timed_out(_result: object, _seconds: float) -> Failure:
    # Whatever that which was given up for it says.
    return Failure(NoAnswer())


def _unreachable(url: str, way: Way, failure: Failure) -> Failure:
    kind = TLSError if failure.check(ProxyTLSError) else ConnectError
    why = reason(failure)
    if way.proxy is not None and not failure.check(ProxyError):
        why += f", by way of the proxy {way.proxy}"
    return Failure(kind(f"cannot connect to {escape(url)}: {why}"))
