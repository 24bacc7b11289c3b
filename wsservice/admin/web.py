"""HTTP for the admin face, by twisted.web, with bounds.

Of twisted.web only the protocol is used: no resources, sessions, forms, cookies,
tracebacks, access log or version banner.
"""

from __future__ import annotations

import http
import io
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from zope.interface import implementer

from ..log import PeerLogger
from .exchange import MOST_OF_BODY, Answer, Asked, Stream, problem

_MOST_CONNECTIONS = 64
"""Connections to the face at once: each takes a descriptor."""

_MOST_HEADERS = 100
_MOST_OF_HEAD = 16 * 1024
"""Octets of a request's lines, and of each of them."""

_PATIENCE = 30.0
"""Seconds from the beginning of a connection, or the end of an answer, to that of a request."""

_LAST_PATIENCE = 5
"""Seconds that a reader has then for what it did not read yet."""

_LAST_WORDS = 1.0
"""Seconds that all readers have when the face ends."""

_log = PeerLogger(namespace="wsservice")

Respond = Callable[[Asked], Awaitable[Answer | Stream]]


class _Request(Request):
    """One request, and its answer."""

    channel: Any
    content: Any
    _refused = False
    _stream: Stream | None = None
    _most = MOST_OF_BODY
    _objection: Answer | None = None

    # What the channel calls

    def parseCookies(self) -> None:
        """Nobody asks for them."""

    def gotLength(self, length: int | None) -> None:
        self.content = io.BytesIO()
        room = self.channel.factory.room_for(self._asked(self.channel._command, self.channel._path))
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
        # Else the channel would ask for more of it, behind the answer.
        self.requestHeaders.removeHeader(b"expect")
        too_large = problem(413, f"a body has at most {self._most} octets")
        self.channel.refuse(self._objection or too_large)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def _asked(self, method: bytes, target: bytes) -> Asked:
        headers = {
            name.decode("latin-1").lower(): tuple(each.decode("latin-1") for each in values)
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        return Asked(
            method.decode("latin-1"),
            target.decode("latin-1"),
            headers,
            self.content.getvalue(),
            self.channel.getHost(),
        )

    def process(self) -> None:
        asked = self._asked(self.method, self.uri)
        respond: Respond = self.channel.factory.respond
        answered = Deferred.fromCoroutine(_awaited(respond(asked)))
        answered.addErrback(_failed).addCallback(self._answer)
        answered.addErrback(lambda failure: _log.failure("cannot answer", failure))

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if self._stream is not None:
            self._stream.stopProducing()

    # The answer

    def _answer(self, answer: Answer | Stream) -> None:
        if not isinstance(answer, Answer):
            self._begin(answer)
        elif not self._disconnected:
            self._set_head(answer.status, answer.headers)
            self.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(answer.body)])
            self.write(answer.body)
            self.finish()

    def _set_head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.setResponseCode(status, http.HTTPStatus(status).phrase.encode())
        for name, value in headers:
            self.responseHeaders.addRawHeader(name.encode(), value.encode())

    def _begin(self, stream: Stream) -> None:
        if self._disconnected:
            stream.stopProducing()
            return
        self._stream = stream
        self._set_head(http.HTTPStatus.OK, stream.headers)
        self.registerProducer(stream, True)
        stream.begin(self)

    # What a stream calls

    def end(self) -> None:
        """As `Outlet` has it."""
        self._stream = None
        self.unregisterProducer()
        if not self._disconnected:
            self.finish()

    def abort(self) -> None:
        """As `Outlet` has it."""
        self._stream = None
        self.unregisterProducer()
        if not self._disconnected:
            self.channel.forceAbortClient()


async def _awaited(answer: Awaitable[Answer | Stream]) -> Answer | Stream:
    return await answer


def _failed(failure: Failure) -> Answer:
    _log.failure("the admin face failed", failure)
    return problem(500, "an internal error; the log has it")


class _Channel(HTTPChannel):
    """One connection to the face."""

    requestFactory = _Request
    maxHeaders = _MOST_HEADERS
    totalHeadersSize = _MOST_OF_HEAD
    abortTimeout = _LAST_PATIENCE
    factory: AdminFactory
    transport: Any

    def connectionMade(self) -> None:
        self.factory.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.channels.discard(self)
        super().connectionLost(reason)
        self.factory.channel_lost()

    def dataReceived(self, data: bytes) -> None:
        # Not the one above, which gives whoever sends an octet now and then all its time anew.
        LineReceiver.dataReceived(self, data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(problem(431, f"a request has at most {_MOST_OF_HEAD} octets"))

    def timeoutConnection(self) -> None:
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        if self._abortingCall is not None and self._abortingCall.active():
            self._abortingCall.cancel()
        self._abortingCall = None
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # What twisted.web has no other door for: wrong, or too much, and told with 400 alike.
        self.refuse(problem(400, "that is no request"))

    def refuse(self, answer: Answer) -> None:
        """Answer a request that was not read to its end, and let go."""
        if self.transport.disconnecting:
            return
        phrase = http.HTTPStatus(answer.status).phrase
        lines = [("Connection", "close"), ("Content-Length", str(len(answer.body)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in (*lines, *answer.headers))
        octets = f"HTTP/1.1 {answer.status} {phrase}\r\n{head}\r\n".encode() + answer.body
        self.transport.write(octets)
        self.loseConnection()


@implementer(IProtocolNegotiationFactory)
class AdminFactory(HTTPFactory):
    """Makes the connections of the face; each request is answered by `respond`.

    `room_for` says how large the body of one may be, or what one is answered that is
    larger than most.
    """

    noisy = False
    # Not Twisted's own choice between this and HTTP/2.
    protocol = _Channel  # type: ignore[assignment]

    def __init__(
        self,
        respond: Respond,
        reactor: Any,
        room_for: Callable[[Asked], int | Answer] = lambda _: MOST_OF_BODY,
    ) -> None:
        super().__init__(timeout=_PATIENCE, reactor=reactor)
        self.respond = respond
        self.room_for = room_for
        self.channels: set[_Channel] = set()
        self._ended: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.channels) >= _MOST_CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken within TLS (ALPN)."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """There is no access log."""

    def stopFactory(self) -> None:
        """There is none."""

    def log(self, request: Request) -> None:
        """There is none."""

    def end(self) -> Deferred[None]:
        """End all connections, after what was answered. Fires when they are over, or soon."""
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
        """One is over, perhaps the last."""
        if self._ended is not None and not self.channels:
            ended, self._ended = self._ended, None
            ended.callback(None)
