"""Stay connected: Twisted's `ClientService`, for connections after the opening handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..clock import monotonic_of
from ..config.close_codes import CloseCode
from ..errors import CertificateError, ConfigError, ConnectionClosed, HandshakeError
from ..escape import escape
from ..log.peer import PeerLogger
from ..net.backoff import Backoff
from .connecting import open_connection
from .ended import why_ended
from .options import ClientConfig
from .protocol import ClientProtocol
from .resuming import Resuming, Unwrapping

_log = PeerLogger(namespace="wsservice")

_STABLE = 10.0
"""Seconds after which a connection counts as one that worked."""

_MAY_PASS = (408, 425, 429)
"""HTTP statuses that blame the client, but may change with time."""


def is_permanent(error: BaseException | None) -> bool:
    """Return True if another attempt would fail too."""
    if isinstance(error, HandshakeError):
        return 400 <= (error.status or 0) < 500 and error.status not in _MAY_PASS
    return isinstance(error, ConfigError | CertificateError)


class Staying:
    """Connect, and reconnect after a failure or a loss, until stopped.

    Each connection is a `protocol`. It calls `connected(connection)` once one is open,
    `lost(connection, error)` when it is over, `retrying(error, delay)` when the next attempt is in
    `delay` seconds, and `failed(error)` when it gives up because another attempt cannot help. With
    `retries` False, it gives up after any failed attempt. With `resuming`, each connection asks for
    the messages missed since the one before.
    """

    def __init__(
        self,
        config: ClientConfig,
        protocol: type[ClientProtocol],
        reactor: Any,
        *,
        connected: Callable[[Any], object],
        lost: Callable[[Any, ConnectionClosed], object],
        retrying: Callable[[Exception, float], object],
        failed: Callable[[Exception], object],
        retries: bool = True,
        resuming: Resuming | None = None,
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._connected = connected
        self._lost = lost
        self._retrying = retrying
        self._failed = failed
        self._retries = retries
        self._resuming = resuming
        bases = (_Linked, protocol) if resuming is None else (_Linked, Unwrapping, protocol)
        members = {"_staying": self, "_resuming": resuming, "__doc__": protocol.__doc__}
        self._protocol: Any = type(protocol.__name__, bases, members)
        self._backoff = Backoff()
        self._error: Any = None
        self._connection: ClientProtocol | None = None
        self._connected_at = 0.0
        self._proxy: IProtocol = Protocol()
        self._next_turn: IDelayedCall | None = None
        self._service = ClientService(
            _Endpoint(self), Factory.forProtocol(Protocol), self._delay, reactor
        )

    def start(self) -> None:
        """Connect."""
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Close the connection with 1000, or stop connecting. Fires when there is no connection."""
        if self._next_turn is not None and self._next_turn.active():
            self._next_turn.cancel()
        return self._service.stopService()

    def again(self) -> None:
        """Connect again at once, without a connection or while one is being lost."""
        self.stop()
        self.start()

    def __repr__(self) -> str:
        # Twisted's log shows it. The URL's path and query may be secret.
        return escape(self._config.target.authority)

    def attempt(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect for Twisted's service. Fires after the opening handshake."""
        opening: Deferred[Any] = maybeDeferred(self._open)
        attempt: Deferred[IProtocol] = Deferred(lambda _: opening.cancel())

        def opened(connection: ClientProtocol) -> None:
            self._connection = connection
            self._connected_at = self._monotonic()
            proxy: Any = factory.buildProtocol(connection.transport.getPeer())
            self._proxy = proxy
            proxy.makeConnection(_Polite(connection))
            attempt.callback(proxy)
            if self._resuming is not None:
                self._tell(self._resuming.connected, connection)
            self._tell(self._connected, connection)

        def not_opened(failure: Failure) -> None:
            self._error = failure.value
            is_last = not self._retries or is_permanent(failure.value)
            if is_last and not failure.check(CancelledError):
                # Twisted's service would try again after any error. It is stopped in the next turn,
                # because this may run within its attempt to start.
                self._next_turn = self._reactor.callLater(0, self._give_up)
            else:
                attempt.errback(failure)

        opening.addCallbacks(opened, not_opened)
        return attempt

    def _open(self) -> Deferred[Any]:
        config = self._config if self._resuming is None else self._resuming.config
        return open_connection(config, self._protocol, self._reactor)

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        """Call back. An exception is logged, so that the next connection is made all the same."""
        try:
            callback(*args)
        except Exception:
            _log.failure("[{who}] a callback failed", who=self)

    def _give_up(self) -> None:
        self._service.stopService()
        self._failed(self._error)

    def over(self, connection: ClientProtocol) -> None:
        """Handle the end of a connection."""
        if connection is not self._connection:
            return  # it was given up before it was open
        self._connection = None
        if self._monotonic() - self._connected_at >= _STABLE:
            self._backoff.reset()
        self._error = why_ended(connection)
        self._tell(self._lost, connection, self._error)
        self._proxy.connectionLost(Failure(self._error))

    def _delay(self, _attempt: int) -> float:
        # Twisted's service resets its count of attempts at each connection, even a short one.
        delay = self._backoff.delay(getattr(self._error, "retry_after", None))
        # The callback may stop the service, which is not allowed within this call.
        self._next_turn = self._reactor.callLater(0, self._tell, self._retrying, self._error, delay)
        return delay


class _Linked:
    """Report the end of a connection. Mix in before a behaviour."""

    _staying: Staying

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        try:
            super().connectionLost(reason)  # type: ignore[misc]
        finally:
            self._staying.over(self)  # type: ignore[arg-type]


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """The endpoint of Twisted's service."""

    def __init__(self, staying: Staying) -> None:
        self._staying = staying

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._staying.attempt(protocolFactory)

    def __repr__(self) -> str:
        return repr(self._staying)


class _Polite:
    """The transport of Twisted's service: losing it sends a close frame."""

    def __init__(self, connection: ClientProtocol) -> None:
        self._connection = connection

    def loseConnection(self) -> None:
        self._connection.sendClose(int(CloseCode.NORMAL))
