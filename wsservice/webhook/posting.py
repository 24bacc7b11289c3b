"""One POST to the receiver, and what became of it.

What the receiver answers is its status, and nothing else of it is looked at. It
can take neither more time nor more memory than there is for it; where it wants to
be asked elsewhere (3xx), it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from ..client.backoff import retry_after
from ..transports import tls_reason

PATIENCE = 10.0
"""Seconds that a POST may take, from connecting to the end of the answer."""

_CONNECTING = 5.0
"""Of these, what connecting may take for each address."""

MOST_OF_ANSWER = 64 * 1024
"""Octets that are read, of head and body together."""


@attrs.frozen
class Outcome:
    """What became of it. `problem` is for people, empty where it was taken.

    `asked` is how many seconds the receiver wants to be left alone for, if it said.
    """

    problem: str = ""
    asked: float | None = None


class Poster:
    """Posts to one URL. Certificates are verified, against the system's authorities."""

    def __init__(self, url: str, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        self._url = url.encode()
        self._reactor = reactor
        self._policy = policy or BrowserLikePolicyForHTTPS()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[Outcome]:
        """Post it. Never fails; to be cancelled where there is no time for it any more."""
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

    def run(self, url: bytes, body: bytes, headers: Mapping[str, str]) -> Deferred[Outcome]:
        agent = Agent.usingEndpointFactory(self._reactor, self)
        raw = Headers({name: [value] for name, value in headers.items()})
        asked = agent.request(b"POST", url, raw, _Body(body))

        def cancel(_: object) -> None:
            self._cancelled = True
            self._abort(asked)

        outcome: Deferred[Outcome] = Deferred(cancel)
        deadline = self._reactor.callLater(PATIENCE, self._expire, asked)

        def done(result: Outcome) -> None:
            if deadline.active():
                deadline.cancel()
            outcome.callback(result)

        asked.addCallback(self._answered).addErrback(self._failed).addCallback(done)
        return outcome

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """As `IAgentEndpointFactory` has it."""
        endpoint: Any = HostnameEndpoint(
            self._reactor, uri.host.decode(), uri.port, timeout=_CONNECTING
        )
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

    def _answered(self, response: Any) -> Deferred[Outcome]:
        status = int(response.code)
        if 200 <= status <= 299:
            result = Outcome()
        else:
            (value, *_) = response.headers.getRawHeaders(b"retry-after", [b""])
            asked = retry_after(value.decode("latin-1"), time.time()) if value else None
            result = Outcome(f"answered {status}", asked)
        ended: Deferred[None] = Deferred()
        response.deliverBody(_Discarding(ended))
        return ended.addCallback(lambda _: result)

    def _failed(self, failure: Failure) -> Outcome:
        if self._took_too_long:
            return Outcome(f"gave no answer within {PATIENCE:g} s")
        if self._cancelled:
            return Outcome("there was no time for it")
        if self._connection is not None and self._connection.too_much:
            return Outcome(f"answered with more than {MOST_OF_ANSWER} octets")
        return Outcome(_why(failure))


def _why(failure: Failure) -> str:
    """A failure of Twisted's HTTP client in a few words."""
    reasons = getattr(failure.value, "reasons", None)
    if reasons:
        return _why(reasons[-1])
    error = failure.value
    if isinstance(error, SSL.Error):
        return f"failed in TLS ({tls_reason(error)})"
    cause = getattr(error, "osError", None)
    text = getattr(cause, "strerror", None) or str(error) or type(error).__name__
    return f"failed: {text.rstrip('.')}"


@implementer(IBodyProducer)
class _Body:
    """A body that is there."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._octets)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All of it was written already."""

    resumeProducing = stopProducing = pauseProducing


class _Discarding(Protocol):
    """Reads an answer's body to its end, or to what is the end for us."""

    def __init__(self, ended: Deferred[None]) -> None:
        self._ended = ended

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended.callback(None)


class _Bounded(ProtocolWrapper):
    """A connection on which only so much is read."""

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
        """End it at once."""
        self.transport.abortConnection()


class _BoundedFactory(WrappingFactory):
    noisy = False
    protocol = _Bounded


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _BoundedEndpoint:
    """An endpoint whose connections are bounded, and shown to whoever may end them."""

    _endpoint: IStreamClientEndpoint
    _connected: Callable[[_Bounded], object]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """As `IStreamClientEndpoint` has it."""

        def unwrap(wrapper: Any) -> IProtocol:
            self._connected(wrapper)
            protocol: IProtocol = wrapper.wrappedProtocol
            return protocol

        # Else Twisted logs that each begins, and that it ends.
        protocolFactory.noisy = False  # type: ignore[attr-defined]
        connected: Deferred[Any] = self._endpoint.connect(_BoundedFactory(protocolFactory))
        return connected.addCallback(unwrap)
