"""Staying connected: Twisted's `ClientService`, for connections that have shaken hands."""

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

from ..errors import CertificateError, ConfigError, ConnectionClosed, HandshakeError
from ..escape import escape
from ..policy import CloseCode
from .backoff import Backoff
from .connecting import open_connection
from .ended import why_ended
from .options import ClientConfig
from .protocol import ClientProtocol
from .resuming import Resuming, Unwrapping

_STABLE = 10.0
"""Seconds after which a connection counts as one that worked."""

_MAY_PASS = (408, 425, 429)
"""HTTP statuses that blame the client, and may be others in a while all the same."""


def is_permanent(error: BaseException | None) -> bool:
    """Whether trying again would only fail again."""
    if isinstance(error, HandshakeError):
        return 400 <= (error.status or 0) < 500 and error.status not in _MAY_PASS
    return isinstance(error, ConfigError | CertificateError)


class Staying:
    """Connects, and again when that fails or the connection is over, until it is stopped.

    `protocol` is what each connection is. Called are: `connected(connection)`
    once one is open, `lost(connection, error)` when it is over, `retrying(error,
    delay)` when the next attempt is to be in `delay` seconds, and `failed(error)`
    when there is to be none, since trying again cannot help. Where `retries` is
    false, no attempt that failed is followed by another one. With `resuming`, each
    connection asks for what was missed since the one before.
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
        """Close the connection with 1000, or give up connecting: fires when there is none."""
        if self._next_turn is not None and self._next_turn.active():
            self._next_turn.cancel()
        return self._service.stopService()

    def again(self) -> None:
        """Connect anew, and wait for nothing: where there is no connection, or as one is lost."""
        self.stop()
        self.start()

    def __repr__(self) -> str:
        # Twisted's log has it. The URL's path and query may be secret.
        return escape(self._config.target.authority)

    def attempt(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """What Twisted's service takes for connecting: it fires when hands were shaken."""
        config = self._config if self._resuming is None else self._resuming.config
        opening: Deferred[Any] = maybeDeferred(
            open_connection, config, self._protocol, self._reactor
        )
        attempt: Deferred[IProtocol] = Deferred(lambda _: opening.cancel())

        def opened(connection: ClientProtocol) -> None:
            self._connection = connection
            self._connected_at = self._reactor.seconds()
            proxy: Any = factory.buildProtocol(connection.transport.getPeer())
            self._proxy = proxy
            proxy.makeConnection(_Polite(connection))
            attempt.callback(proxy)
            if self._resuming is not None:
                self._resuming.connected(connection)
            self._connected(connection)

        def not_opened(failure: Failure) -> None:
            self._error = failure.value
            is_last = not self._retries or is_permanent(failure.value)
            if is_last and not failure.check(CancelledError):
                # Twisted's service would try again at whatever error. It is stopped in
                # the next turn, since this may be within its attempt to begin.
                self._next_turn = self._reactor.callLater(0, self._give_up)
            else:
                attempt.errback(failure)

        opening.addCallbacks(opened, not_opened)
        return attempt

    def _give_up(self) -> None:
        self._service.stopService()
        self._failed(self._error)

    def over(self, connection: ClientProtocol) -> None:
        """A connection is over."""
        if connection is not self._connection:
            return  # it was given up before it was open
        self._connection = None
        if self._reactor.seconds() - self._connected_at >= _STABLE:
            self._backoff.reset()
        self._error = why_ended(connection)
        self._lost(connection, self._error)
        self._proxy.connectionLost(Failure(self._error))

    def _delay(self, _attempt: int) -> float:
        # Twisted's service counts from one anew with each connection, however short.
        delay = self._backoff.delay(getattr(self._error, "retry_after", None))
        # Whoever is told may want to stop, which must not be in the midst of this.
        self._next_turn = self._reactor.callLater(0, self._retrying, self._error, delay)
        return delay


class _Linked:
    """Tells when a connection is over. Mixed in before a behaviour."""

    _staying: Staying

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[misc]
        self._staying.over(self)  # type: ignore[arg-type]


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """What Twisted's service connects to."""

    def __init__(self, staying: Staying) -> None:
        self._staying = staying

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._staying.attempt(protocolFactory)

    def __repr__(self) -> str:
        return repr(self._staying)


class _Polite:
    """What Twisted's service takes for a transport."""

    def __init__(self, connection: ClientProtocol) -> None:
        self._connection = connection

    def loseConnection(self) -> None:
        self._connection.sendClose(int(CloseCode.NORMAL))
