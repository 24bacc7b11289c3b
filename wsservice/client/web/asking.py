"""Send one HTTP request to a web server, and return its answer.

Time and memory for the answer are bounded. A redirect (3xx) is an answer: it is not followed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

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
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from ...http.hostname import parse_place
from ...net.dialing import HostEndpoint
from ...net.transports import abort_connection, tls_reason
from ..security import Security

PATIENCE = 10.0
"""Seconds that a request may take, from connecting to the end of the answer."""

_CONNECTING = 5.0
"""Seconds of these that a connection attempt may take for each address."""

MOST_OF_ANSWER = 64 * 1024
"""The most octets of an answer, head and body together."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class WebAnswer:
    """The answer to a request. `problem` says why it is not whole, in a few words; "" if it is.

    `status` is None without a status line. Names of `headers` are in lower case; of a header that
    came twice, the first is kept. The text of a problem has nothing of the URL or of the answer.
    """

    status: int | None = None
    problem: str = ""
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes = attrs.field(default=b"", repr=False)


@implementer(IPolicyForHTTPS)
class _Policy:
    """Verify certificates as a browser does, for any host name."""

    def __init__(self) -> None:
        self._security = Security()

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Return the TLS settings for a host. Twisted's `Agent` calls it."""
        return self._security.for_host(hostname.decode("ascii"))


_CANCELLED = WebAnswer(problem="was cancelled: no time was left")


class Asker:
    """Ask one URL. Certificates are verified against the system's authorities.

    A request takes at most `patience` seconds, its answer at most `most` octets with its head.
    """

    def __init__(
        self,
        url: str,
        reactor: Any,
        policy: IPolicyForHTTPS | None = None,
        patience: float = PATIENCE,
        most: int = MOST_OF_ANSWER,
    ) -> None:
        self._url = url.encode()
        self._reactor = reactor
        self._policy = policy or _Policy()
        self._patience = patience
        self._most = most

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Deferred[WebAnswer]:
        """Send a request. Never fails: errors are answers with a problem.

        Cancel it when the time is over.
        """
        attempt = _Attempt(self._reactor, self._policy, self._patience, self._most)
        return attempt.run(method, self._url, headers, body)


@implementer(IAgentEndpointFactory)
class _Attempt:
    """One request, on a connection of its own."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, patience: float, most: int) -> None:
        self._reactor = reactor
        self._policy = policy
        self._patience = patience
        self._most = most
        self._connection: _Bounded | None = None
        self._took_too_long = False
        self._cancelled = False

    def run(
        self, method: str, url: bytes, headers: Mapping[str, str], body: bytes | None
    ) -> Deferred[WebAnswer]:
        agent = Agent.usingEndpointFactory(self._reactor, self)
        raw = Headers({name: [value] for name, value in headers.items()})
        producer = None if body is None else _Body(body)
        asked = maybeDeferred(agent.request, method.encode(), url, raw, producer)

        def cancel(outcome: Deferred[WebAnswer]) -> None:
            self._cancelled = True
            self._abort(asked)
            if not outcome.called:  # a real connection ends in the reactor's next turn only
                outcome.callback(_CANCELLED)

        outcome: Deferred[WebAnswer] = Deferred(cancel)
        deadline = self._reactor.callLater(self._patience, self._expire, asked)

        def done(result: WebAnswer) -> None:
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
        connection.most = self._most
        self._connection = connection

    def _expire(self, asked: Deferred[Any]) -> None:
        self._took_too_long = True
        self._abort(asked)

    def _abort(self, asked: Deferred[Any]) -> None:
        if self._connection is not None:
            self._connection.abort()
        else:
            asked.cancel()

    def _answered(self, response: Any) -> Deferred[WebAnswer]:
        headers = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        ended: Deferred[tuple[bytes, bool]] = Deferred()
        response.deliverBody(_Collecting(ended))

        def answer(collected: tuple[bytes, bool]) -> WebAnswer:
            body, is_whole = collected
            problem = "" if is_whole else self._problem("broke off its answer")
            return WebAnswer(int(response.code), problem, headers, body)

        return ended.addCallback(answer)

    def _failed(self, failure: Failure) -> WebAnswer:
        return WebAnswer(problem=self._problem(_why(failure)))

    def _problem(self, other: str) -> str:
        """Return the bound that ended the request, or another problem if none did."""
        if self._took_too_long:
            return f"gave no answer within {self._patience:g} s"
        if self._cancelled:
            return _CANCELLED.problem
        if self._connection is not None and self._connection.too_much:
            return f"answered with more than {self._most} octets"
        return other


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


class _Collecting(Protocol):
    """Collect an answer's body. Its length is bounded with that of the connection."""

    def __init__(self, ended: Deferred[tuple[bytes, bool]]) -> None:
        self._ended = ended
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._body += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # A body without a length ends with its connection (RFC 9112, 6.3).
        is_whole = reason.check(ResponseDone, PotentialDataLoss) is not None
        self._ended.callback((bytes(self._body), is_whole))


class _Bounded(ProtocolWrapper):
    """A connection that is cut off after `most` octets."""

    transport: Any
    most = MOST_OF_ANSWER
    too_much = False
    _read = 0

    def dataReceived(self, data: bytes) -> None:
        self._read += len(data)
        if self._read > self.most:
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


def ask_now(
    url: str, headers: Mapping[str, str], patience: float = PATIENCE, most: int = MOST_OF_ANSWER
) -> WebAnswer:
    """Ask a URL by GET, and wait for the answer: for programs whose reactor does not run yet.

    The bounds, and the certificates that are trusted, are those of an `Asker`.
    """
    answers: list[WebAnswer] = []
    # A server that sends an octet now and then would keep each call of the socket short.
    thread = threading.Thread(
        target=lambda: answers.append(_got(url, headers, patience, most)), daemon=True
    )
    thread.start()
    thread.join(patience)
    # The thread may still add its answer, so the list is looked at once.
    answer = next(iter(answers), None)
    return answer or WebAnswer(problem=f"gave no answer within {patience:g} s")


def _got(url: str, headers: Mapping[str, str], patience: float, most: int) -> WebAnswer:
    parts = urlsplit(url)
    try:
        host, port = parse_place(parts.netloc)
        connection = (
            HTTPSConnection(host, port, timeout=patience, context=ssl.create_default_context())
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=patience)
        )
        with contextlib.closing(connection):
            target = parts.path or "/"
            connection.request(
                "GET", f"{target}?{parts.query}" if parts.query else target, headers=dict(headers)
            )
            response = connection.getresponse()
            said = {name.lower(): value for name, value in reversed(response.getheaders())}
            body = response.read(most + 1)
            if len(body) > most:
                return WebAnswer(response.status, f"answered with more than {most} octets")
            if response.length:
                return WebAnswer(response.status, "broke off its answer")
            return WebAnswer(response.status, "", said, body)
    except ssl.SSLCertVerificationError as error:
        return WebAnswer(problem=f"failed in TLS ({error.verify_message})")
    except TimeoutError:
        return WebAnswer(problem=f"gave no answer within {patience:g} s")
    except socket.gaierror:
        return WebAnswer(problem="failed: its name is not known")
    except (OSError, HTTPException, ValueError) as error:
        text = getattr(error, "strerror", None) or type(error).__name__
        return WebAnswer(problem=f"failed: {text}")
