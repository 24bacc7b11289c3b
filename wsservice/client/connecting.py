"""Open a connection to a URL."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import TimeoutError as NoAnswer
from twisted.python.failure import Failure

from ..clock import monotonic_of
from ..errors import ConfigError, ConnectError, HandshakeError, TLSError
from ..escape import escape, escape_within, masked, shown_url
from ..log.peer import PeerLogger
from ..net.transports import abort_connection
from .endpoints import ProxyError, ProxyTLSError, Way, reason, way_to
from .opening import RedirectedError
from .options import ClientConfig
from .protocol import ClientFactory, ClientProtocol
from .stream import ClientConnection
from .trace import HandshakeTrace
from .web.redirects import follow
from .web.urls import readable

_LONGEST_SHOWN = 600
"""The most octets that an error shows of a redirect that is not followed."""

_SHORTEST = 0.001
"""The least seconds that the last of several attempts has: 0 would mean no limit."""

_log = PeerLogger(namespace="wsservice")

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

    Returns a Deferred that fires with the open connection, an instance of `protocol`, right after
    its `onOpen` was called; cancelling it gives up. A `ClientConnection`, the default, is a stream:
    `async for message in connection`. `settings` are the fields of `ClientConfig`. Certificates and
    host names of `wss:` URLs are verified.

    Raises `ConfigError` for a URL or setting that is not allowed. The Deferred fails with
    `ConnectError` if the server cannot be reached (`TLSError` if TLS fails), and with
    `HandshakeError` if the server refuses.
    """
    if reactor is None:
        from twisted.internet import reactor
    return open_connection(ClientConfig(url=url, **settings), protocol, reactor)


def open_connection(config: ClientConfig, protocol: type[_P], reactor: Any) -> Deferred[_P]:
    """Connect as `connect` does, with settings that are made already."""
    opening = _Opening(protocol, reactor)
    try:
        opening.begin(config)
    except ConfigError:
        raise
    except Exception:
        opening.failed(Failure(), config)
    return opening.opened


class _Opening(Generic[_P]):
    """Connect, and follow redirects."""

    def __init__(self, protocol: type[_P], reactor: Any) -> None:
        self._protocol = protocol
        self._reactor = reactor
        self._redirects = 0
        self._seconds = monotonic_of(reactor)
        self._since = 0.0
        self._reached_at: float | None = None
        self._connecting: Deferred[Any] = Deferred()
        self._connected: Any = None
        self.opened: Deferred[_P] = Deferred(self._give_up)

    def begin(self, config: ClientConfig) -> None:
        """Start an attempt. Raises `ConfigError` for settings that cannot be used."""
        trace = HandshakeTrace(config.trace, config.secrets)
        way = way_to(config, self._reactor, trace)
        if config.insecure and way.security is not None:
            _log.warn(
                "{url}: the server's certificate is not verified", url=escape(config.target.shown)
            )
        self._connected = None
        self._since = self._seconds()
        self._reached_at = None
        factory = ClientFactory(config, self._protocol, self._reactor, way.security)
        trace.note(f"connecting to {escape(config.target.shown)}")
        self._connecting = way.endpoint.connect(factory)
        if config.connect_timeout:
            self._connecting.addTimeout(config.connect_timeout, self._reactor, _timed_out)
        self._connecting.addCallbacks(
            self._reached, lambda failure: self._end(_unreachable(config, way, failure))
        ).addErrback(self.failed, config)
        factory.opening.addCallbacks(self._end, self._not_opened, errbackArgs=(config,)).addErrback(
            self.failed, config
        )

    def failed(self, failure: Failure, config: ClientConfig) -> None:
        """Fail because of an error that nobody foresaw."""
        url = escape(config.target.shown)
        _log.failure("cannot connect to {url}", failure, url=url)
        self._end(Failure(ConnectError(f"cannot connect to {url}: {reason(failure)}")))

    def _reached(self, connection: Any) -> None:
        self._connected = connection
        self._reached_at = self._seconds()

    def _not_opened(self, failure: Failure, config: ClientConfig) -> None:
        redirect = failure.value
        if self.opened.called or not isinstance(redirect, RedirectedError):
            self._end(failure)
            return
        self._redirects += 1
        try:
            if self._redirects > config.max_redirects:
                raise ConfigError(
                    f"at most {config.max_redirects} redirects are followed, by --max-redirects"
                )
            self.begin(self._with_time_left(follow(config, redirect.location)))
        except ConfigError as error:
            where = masked(shown_url(readable(redirect.location)), config.secrets)
            said = f"{config.target.shown} redirects: {error}; {redirect.status} to {where}"
            shown, cut = escape_within(said, _LONGEST_SHOWN)
            self._end(Failure(HandshakeError(f"{shown}{'...' if cut else ''}", redirect.status)))

    def _with_time_left(self, config: ClientConfig) -> ClientConfig:
        """Return settings with the time that earlier attempts have left.

        With full times for each attempt, a chain of redirects between slow servers would take
        many times as long as the settings allow.
        """
        reached_at = self._since if self._reached_at is None else self._reached_at
        return attrs.evolve(
            config,
            connect_timeout=_left(config.connect_timeout, reached_at - self._since),
            handshake_timeout=_left(config.handshake_timeout, self._seconds() - reached_at),
        )

    def _end(self, result: Any) -> None:
        if not self.opened.called:
            self.opened.callback(result)

    def _give_up(self, opened: Deferred[Any]) -> None:
        # The error is set first: cancelling the attempt fails with an error of its own.
        opened.errback(CancelledError())
        if self._connected is not None:
            abort_connection(self._connected.transport)
        else:
            self._connecting.cancel()


def _left(limit: float, spent: float) -> float:
    return limit and max(limit - spent, _SHORTEST)  # 0 is no limit


def _timed_out(_result: object, _seconds: float) -> Failure:
    # The error of the cancelled attempt itself is replaced.
    return Failure(NoAnswer())


def _unreachable(config: ClientConfig, way: Way, failure: Failure) -> Failure:
    kind = TLSError if failure.check(ProxyTLSError) else ConnectError
    why = reason(failure, config.ip_version)
    if way.proxy is not None and not failure.check(ProxyError):
        why += f", by way of the proxy {way.proxy}"
    return Failure(kind(f"cannot connect to {escape(config.target.shown)}: {why}"))
