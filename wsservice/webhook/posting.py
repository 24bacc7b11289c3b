"""Send one POST to the receiver, and return its outcome.

Only the status of the answer counts, and Retry-After of a failure. Time and memory for the answer
are bounded. A redirect (3xx) is a failure: it is not followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from ..client.security import Security
from ..http.hostname import parse_place
from ..net.backoff import retry_after
from ..net.dialing import HostEndpoint
from ..net.transports import abort_connection, tls_reason

PATIENCE = 10.0
"""Seconds that a POST may take, from connecting to the end of the answer."""

_CONNECTING = 5.0
"""Seconds of these that a connection attempt may take for each address."""

MOST_OF_ANSWER = 64 * 1024
"""The most octets of an answer, head and body together."""


@attrs.frozen
class PostOutcome:
    """The outcome of a POST. `problem` is a text for people, "" for success.

    `asked` is the number of seconds that the receiver asks to wait (Retry-After); None if it does
    not.
    """

    problem: str = ""
    asked: float | None = None


@implementer(IPolicyForHTTPS)
class _Policy:
    """Verify certificates as a browser does, for any host name."""

    def __init__(self) -> None:
        self._security = Security()

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Return the TLS settings for a host. Twisted's `Agent` calls it."""
        return self._security.for_host(hostname.decode("ascii"))


_CANCELLED = PostOutcome("was cancelled: no time was left")


class Poster:
    """Post to one URL. Certificates are verified against the system's authorities."""

    def __init__(self, url: str, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        self._url = url.encode()
        self._reactor = reactor
        self._policy = policy or _Policy()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[PostOutcome]:
        """Post a body. Never fails: errors are outcomes. Cancel it when the time is over."""
        return _Attempt(self._reactor, self._policy).run(self._url, body, headers)


@implementer(IAgentEndpointFactory)
class _Attempt:
    """One POST, on a connection of its own."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._policy = policy
        self._connection: _Bounded | None = None
        self._took_too_long = False
        self._cancelled = False

    def run(self, url: bytes, body: bytes, headers: Mapping[str, str]) -> Deferred[PostOutcome]:
        agent = Agent.usingEndpointFactory(self._reactor, self)
        raw = Headers({name: [value] for name, value in headers.items()})
        asked = maybeDeferred(agent.request, b"POST", url, raw, _Body(body))

        def cancel(outcome: Deferred[PostOutcome]) -> None:
            self._cancelled = True
            self._abort(asked)
            if not outcome.called:  # a real connection ends in the reactor's next turn only
                outcome.callback(_CANCELLED)

        outcome: Deferred[PostOutcome] = Deferred(cancel)
        deadline = self._reactor.callLater(PATIENCE, self._expire, asked)

        def done(result: PostOutcome) -> None:
            if deadline.active():
                deadline.cancel()
            if not outcome.called:
                outcome.callback(result)

        asked.addCallback(self._answered).addErrback(self._failed).addCallback(done)
        return outcome

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint for a URI, with a bound on what is read.

        Twisted's `Agent` calls it.
        """
        host, _ = parse_place(uri.netloc.decode("ascii"))
        endpoint: Any = HostEndpoint(self._reactor, host, uri.port, _CONNECTING)
        if uri.scheme == b"https":
            creator = self._policy.creatorForNetloc(uri.host, uri.port)
            endpoint = wrapClientTLS(creator, endpoint)
        return _BoundedEndpoint(endpoint, self._connected)

    def _connected(self, connection: _Bounded) -> None:
        self._connection = connection

    def _expire(self, asked: Deferred[Any]) -> None:
        self._took_too_long = True
        self._abort(asked)

    def _abort(self, asked: Deferred[Any]) -> None:
        if self._connection is not None:
            self._connection.abort()
        else:
            asked.cancel()

    def _answered(self, response: Any) -> Deferred[PostOutcome]:
        status = int(response.code)
        if 200 <= status <= 299:
            result = PostOutcome()
        else:
            (value, *_) = response.headers.getRawHeaders(b"retry-after", [b""])
            asked = retry_after(value.decode("latin-1"), time.time()) if value else None
            result = PostOutcome(f"answered {status}", asked)
        ended: Deferred[None] = Deferred()
        response.deliverBody(_Discarding(ended))
        return ended.addCallback(lambda _: result)

    def _failed(self, failure: Failure) -> PostOutcome:
        if self._took_too_long:
            return PostOutcome(f"gave no answer within {PATIENCE:g} s")
        if self._cancelled:
            return _CANCELLED
        if self._connection is not None and self._connection.too_much:
            return PostOutcome(f"answered with more than {MOST_OF_ANSWER} octets")
        return PostOutcome(_why(failure))


def _why(failure: Failure) -> str:
    """Describe a failure of Twisted's HTTP client in a few words."""
    reasons = getattr(failure.value, "reasons", None)
    if reasons:
        return _why(reasons[-1])
    error = failure.value
    if isinstance(error, SSL.Error):
        return f"failed in TLS ({tls_reason(error)})"
    if isinstance(error, DNSLookupError):
        return "failed: its name is not known"
    if isinstance(error, VerificationError):
        return "failed in TLS (its certificate is for another host)"
    cause = getattr(error, "osError", None)
    text = getattr(cause, "strerror", None) or str(error) or type(error).__name__
    return f"failed: {text.rstrip('.')}"


@implementer(IBodyProducer)
class _Body:
    """The body of a request, held in memory."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._octets)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: the whole body was written at once."""

    resumeProducing = stopProducing = pauseProducing


class _Discarding(Protocol):
    """Read an answer's body to its end, or to the bound, and discard it."""

    def __init__(self, ended: Deferred[None]) -> None:
        self._ended = ended

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended.callback(None)


class _Bounded(ProtocolWrapper):
    """A connection that is cut off after `MOST_OF_ANSWER` octets."""

    transport: Any
    too_much = False
    _read = 0

    def dataReceived(self, data: bytes) -> None:
        self._read += len(data)
        if self._read > MOST_OF_ANSWER:
            self.too_much = True
            self.abort()
        else:
            super().dataReceived(data)

    def abort(self) -> None:
        """Cut off the connection at once."""
        abort_connection(self.transport)


class _BoundedFactory(WrappingFactory):
    noisy = False
    protocol = _Bounded


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _BoundedEndpoint:
    """An endpoint whose connections are bounded. `_connected` is called with each of them."""

    _endpoint: IStreamClientEndpoint
    _connected: Callable[[_Bounded], object]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect. Twisted calls it."""

        def unwrap(wrapper: Any) -> IProtocol:
            self._connected(wrapper)
            protocol: IProtocol = wrapper.wrappedProtocol
            return protocol

        # Twisted logs the start and end of each noisy factory.
        protocolFactory.noisy = False  # type: ignore[attr-defined]
        connected: Deferred[Any] = self._endpoint.connect(_BoundedFactory(protocolFactory))
        return connected.addCallback(unwrap)
