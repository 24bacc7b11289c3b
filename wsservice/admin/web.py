"""Serve the admin face over HTTP with twisted.web, within bounds.

This module uses only the protocol of twisted.web: no resources, sessions, forms, cookies,
tracebacks, access log or version banner.
"""

from __future__ import annotations

import http
import io
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from zope.interface import implementer

from ..clock import monotonic_of
from ..directory.tracing import TraceStream
from ..http.head import last_head
from ..log.peer import PeerLogger
from ..net.transports import abort_connection, unread
from ..private.of_twisted import request_line
from ..protocol.lingering import OCTETS_AFTER_REFUSAL
from .exchange import MOST_OF_BODY, AdminRequest, Answer, Stream, problem

_MOST_CONNECTIONS = 64
"""The most connections to the face at once: each takes a descriptor."""

_MOST_HEADERS = 100
_MOST_OF_HEAD = 16 * 1024
"""The most octets of a request's head, and of each of its lines."""

_FIRST_PATIENCE = 5.0
"""Seconds from the start of a connection to the end of the head of its first request."""

_PATIENCE = 30.0
"""Seconds from that head, or from the end of an answer, to the end of the next request."""

_PROMPT = 2.0
"""Seconds after which a connection without a request is the first to make room for a new one."""

_LAST_PATIENCE = 5
"""Seconds that a reader has, after a time limit, for what it has not read yet."""

_LAST_WORDS = 1.0
"""Seconds that all readers have when the face stops."""

_log = PeerLogger(namespace="wsservice")

Respond = Callable[[AdminRequest], Awaitable[Answer | Stream]]


class _Request(Request):
    """One request, and its answer."""

    channel: Any
    content: Any
    _is_gone = False
    _refused = False
    _source: TraceStream | None = None
    _most = MOST_OF_BODY
    _objection: Answer | None = None

    # Calls of the channel

    def parseCookies(self) -> None:
        """Skip the cookies: the face uses none."""

    def gotLength(self, length: int | None) -> None:
        self.content = io.BytesIO()
        line = request_line(self.channel)
        room = self._most if line is None else self.channel.factory.room_for(self._asked(*line))
        if isinstance(room, Answer):
            self._objection = room
        else:
            self._most = room
        if length is not None and length > self._most:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        if self.content.tell() + len(data) > self._most:
            self._refuse_body()
            return
        self.content.write(data)

    def _refuse_body(self) -> None:
        self._refused = True
        # With this header, the channel would send 100 Continue behind the answer.
        self.requestHeaders.removeHeader(b"expect")
        too_large = problem(413, f"a body has at most {self._most} octets")
        self.channel.refuse(self._objection or too_large)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def _asked(self, method: bytes, target: bytes, version: bytes) -> AdminRequest:
        headers = {
            name.decode("latin-1").lower(): tuple(each.decode("latin-1") for each in values)
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        return AdminRequest(
            method.decode("latin-1"),
            target.decode("latin-1"),
            headers,
            self.content.getvalue(),
            self.channel.getHost(),
            version.decode("latin-1"),
            self.channel.getPeer(),
        )

    def process(self) -> None:
        self.channel.has_asked()
        asked = self._asked(self.method, self.uri, self.clientproto)
        respond: Respond = self.channel.factory.respond
        answered = Deferred.fromCoroutine(_awaited(respond(asked)))
        answered.addErrback(_failed).addCallback(self._answer)
        answered.addErrback(lambda failure: _log.failure("cannot answer", failure))

    def connectionLost(self, reason: Failure) -> None:
        self._is_gone = True
        super().connectionLost(reason)
        if self._source is not None:
            self._source.stopProducing()

    # The answer

    def _answer(self, answer: Answer | Stream) -> None:
        if not isinstance(answer, Answer):
            self._begin(answer)
        elif not self._is_gone:
            self._set_head(answer.status, answer.headers)
            self.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(answer.body)])
            self.write(answer.body)
            self.finish()

    def _set_head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.setResponseCode(status, http.HTTPStatus(status).phrase.encode())
        for name, value in headers:
            self.responseHeaders.addRawHeader(name.encode(), value.encode())

    def _begin(self, stream: Stream) -> None:
        if self._is_gone:
            stream.source.stopProducing()
            return
        self._source = stream.source
        self._set_head(http.HTTPStatus.OK, stream.headers)
        self.registerProducer(stream.source, True)
        stream.source.begin(self)

    # Calls of the source of a stream

    def end(self) -> None:
        """End the answer after what was written."""
        self._source = None
        self.unregisterProducer()
        if not self._is_gone:
            self.finish()

    def abort(self) -> None:
        """Cut off the reader at once."""
        self._source = None
        self.unregisterProducer()
        if not self._is_gone:
            self.channel.forceAbortClient()


async def _awaited(answer: Awaitable[Answer | Stream]) -> Answer | Stream:
    return await answer


def _failed(failure: Failure) -> Answer:
    _log.failure("the admin face failed", failure)
    return problem(500, "an internal error; see the log")


class _FaceChannel(HTTPChannel):
    """One connection to the face."""

    requestFactory = _Request
    maxHeaders = _MOST_HEADERS
    totalHeadersSize = _MOST_OF_HEAD
    abortTimeout = _LAST_PATIENCE
    factory: AdminFactory
    transport: Any
    _abortingCall: Any = None
    _is_ending = False
    _thrown_away = 0
    _never_asked = True
    _never_read = True

    #: The monotonic time since which no request of it is being answered; None during an answer.
    silent_since: float | None = None

    def connectionMade(self) -> None:
        self.silent_since = self.factory.monotonic()
        self.factory.channels.add(self)
        super().connectionMade()
        self.setTimeout(_FIRST_PATIENCE)

    def allHeadersReceived(self) -> None:
        if self._never_asked:
            self.setTimeout(_PATIENCE)
        super().allHeadersReceived()

    def has_asked(self) -> None:
        """Note that a request is complete."""
        self._never_asked = False
        self.silent_since = None

    def requestDone(self, request: Request) -> None:
        self.silent_since = self.factory.monotonic()
        super().requestDone(request)

    def is_late(self, now: float) -> bool:
        """Return True if the first request of this connection is overdue."""
        since = self.silent_since
        return self._never_asked and since is not None and now - since >= _PROMPT

    def precedence(self, now: float) -> int:
        """Return the order in which connections make room: 0 is first, 2 is last.

        The last are those whose first octets came already: the delay is the service's.
        """
        if self.is_late(now):
            return 0
        return 2 if self._never_read and unread(self.transport) else 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.channels.discard(self)
        super().connectionLost(reason)
        self.factory.channel_lost()

    def dataReceived(self, data: bytes) -> None:
        self._never_read = False
        if self._is_ending:
            # Over TLS the client may go on sending until it closes too.
            self._thrown_away += len(data)
            if self._thrown_away > OCTETS_AFTER_REFUSAL:
                self.forceAbortClient()
            return
        # The method of `HTTPChannel` would restart the time limit at each octet, so that a client
        # that sends one now and then could stay for ever.
        LineReceiver.dataReceived(self, data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(problem(431, f"a request has at most {_MOST_OF_HEAD} octets"))

    def loseConnection(self) -> None:
        """End the connection after what was written; at once if that takes too long."""
        self._is_ending = True
        if self._abortingCall is None:
            self._abortingCall = self.callLater(_PATIENCE, self.forceAbortClient)
        super().loseConnection()

    def timeoutConnection(self) -> None:
        if self._abortingCall is not None:
            self._abortingCall.cancel()
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        if self._abortingCall is not None and self._abortingCall.active():
            self._abortingCall.cancel()
        self._abortingCall = None
        abort_connection(self.transport)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # It does not tell a malformed request from a head that is too large: both get 400.
        self.refuse(problem(400, "the request is malformed, or has too many or too long headers"))

    def refuse(self, answer: Answer) -> None:
        """Answer a request before it was read to its end, and end the connection."""
        if self.transport.disconnecting:
            return
        head = last_head(answer.status, answer.headers, answer.body)
        self.transport.write(head + answer.body)
        self.loseConnection()


class _TurnedAway(Protocol):
    """A connection that is refused because there are too many."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.abortConnection()


@implementer(IProtocolNegotiationFactory)
class AdminFactory(HTTPFactory):
    """Make the connections of the face. `respond` answers each request.

    `room_for` returns the most octets of a request's body, or the answer that refuses a
    request with a long body.
    """

    noisy = False
    # `HTTPFactory` would choose between HTTP/1.1 and HTTP/2 by itself.
    protocol = _FaceChannel  # type: ignore[assignment]

    def __init__(
        self,
        respond: Respond,
        reactor: Any,
        room_for: Callable[[AdminRequest], int | Answer] = lambda _: MOST_OF_BODY,
    ) -> None:
        super().__init__(timeout=_PATIENCE, reactor=reactor)
        self.respond = respond
        self.room_for = room_for
        self.channels: set[_FaceChannel] = set()
        self.monotonic = monotonic_of(reactor)
        self._ended: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.channels) >= _MOST_CONNECTIONS and not self._make_room():
            # None would be allowed here, but Twisted's wrappers, such as that of TLS, fail at it.
            return _TurnedAway()
        return super().buildProtocol(addr)

    def _make_room(self) -> bool:
        """End the connection that has been silent for longest, by precedence.

        Return False if none is.
        """
        now = self.monotonic()
        silent = [
            (each.precedence(now), each.silent_since, each)
            for each in self.channels
            if each.silent_since is not None
        ]
        if not silent:
            return False
        _, _, longest = min(silent, key=lambda entry: entry[:2])
        # A transport reports its end only in the next turn of the reactor.
        self.channels.discard(longest)
        longest.forceAbortClient()
        return True

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols that are offered within TLS (ALPN)."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Open no access log."""

    def stopFactory(self) -> None:
        """Close no access log."""

    def log(self, request: Request) -> None:
        """Write no access log."""

    def end(self) -> Deferred[None]:
        """End all connections after their answers.

        Fires when that is done, or after `_LAST_WORDS`.
        """
        ended: Deferred[None] = Deferred()
        deadline: Any = self.reactor.callLater(_LAST_WORDS, self._abort_all)
        self._ended = ended.addBoth(lambda _: deadline.cancel() if deadline.active() else None)
        for each in tuple(self.channels):
            each.loseConnection()
        self.channel_lost()
        return ended

    def _abort_all(self) -> None:
        for each in tuple(self.channels):
            each.forceAbortClient()
        self.channels.clear()
        self.channel_lost()

    def channel_lost(self) -> None:
        """Fire the Deferred of `end` once the last connection is gone."""
        if self._ended is not None and not self.channels:
            ended, self._ended = self._ended, None
            ended.callback(None)
