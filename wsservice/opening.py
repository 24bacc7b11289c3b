"""The opening handshake, the server's side: who may connect, and how it is told.

The request is read by `request`, strictly, and judged by `policy`, before
Autobahn sees it, in a form that cannot be misread. What is refused is answered
without a word of the peer's own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflate, PerMessageDeflateOffer
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .beginning import Beginning
from .channels import ChannelError, channel_of
from .compression import acceptable
from .connection import NOT_COUNTED, NOT_QUEUED, Connection
from .counting import close_label
from .ending import Ending
from .log import discreet
from .masking import masked, secrets_of
from .plain import TEXT, plain_answer
from .policy import NO_ROOM, CloseCode, Verdict, check_origin
from .reading import Hold
from .request import TOKEN, PlainRequest, Refusal, Request, RequestReader
from .resuming import Resuming
from .transports import peer_descriptor, peer_name
from .watching import Watching

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")

_STATUSES = frozenset(map(int, http.HTTPStatus))

_SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_LOGGED_REASON = 200
"""Characters of a refusal's reason in the log; some of it is the peer's."""


class OpeningProtocol(  # type: ignore[misc]
    Watching, Beginning, Ending, Resuming, Connection, WebSocketServerProtocol
):
    """A connection of a server, as far as its opening handshake goes."""

    factory: Any
    openHandshakeTimeout: float
    openHandshakeTimeoutCall: Any
    perMessageCompressionAccept: Any

    #: The connection's number in this process, a decimal string.
    id = ""

    #: The URL's path without slashes at its ends: whom `broadcast` reaches.
    channel = ""

    #: What the message log calls it.
    _logged_as = "?"

    trafficStats = NOT_COUNTED
    send_queue = NOT_QUEUED

    #: When it was accepted, in seconds since 1970.
    since = 0.0

    _reader: RequestReader | None = None
    _answered = False
    _denial = b""

    def connectionMade(self) -> None:
        self.since = self._seconds()
        self.factory.counts.accepted += 1
        address = self.transport.getPeer()
        self._admission = self.factory.admit(ip_address(address), descriptor(self.transport))
        self.id = next(self.factory.ids)
        self._introduce(address)
        self.factory.hub.arrive(self)
        super().connectionMade()
        self._identified = self._tcp is self.transport
        self._drop_if_crowded()

    def _begin(self) -> None:
        self.factory.countConnections += 1
        with contextlib.suppress(AttributeError, OSError):  # what is no TCP has no such thing
            self.transport.setTcpNoDelay(True)
        if self.openHandshakeTimeout > 0:
            self.openHandshakeTimeoutCall = self.factory._batched_timer.call_later(
                self.openHandshakeTimeout, self.onOpenHandshakeTimeout
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Before the hub knows, which may have waited for this one to end the service.
        if self._watchers:
            self._tell_watchers_of_end()
        self.factory.hub.leave(self)
        self.factory.limits.leave(self._admission)
        self.factory.countConnections -= 1
        self._stop_catching_up()
        super().connectionLost(reason)
        self.factory.counts.left(self.traffic())
        if self._has_opened:
            self.factory.counts.closes[close_label(self.close_code)] += 1

    @property
    def user_agent(self) -> str:
        """What the peer says it is; "" where it does not, or has not asked yet."""
        request = self.__dict__.get("_request")
        return "" if request is None else str(request.headers.get("user-agent", ""))

    @property
    def close_code(self) -> int:
        """The code of the close frame that began the end.

        1005 where that had none, 1006 where there was no such frame.
        """
        code: int | None = self.localCloseCode
        if code is None:
            code = self.remoteCloseCode
        if code is None:
            code = CloseCode.NO_STATUS if self.wasClean else CloseCode.ABNORMAL
        return code

    def onOpenHandshakeTimeout(self) -> None:
        if self.state == self.STATE_CONNECTING:
            self.factory.counts.refusals["timed out"] += 1
        super().onOpenHandshakeTimeout()

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        self.factory.hub.settle(self)

    def _opening_received(self, data: bytes) -> None:
        try:
            self._read_request(data)
        except Exception:
            failure = discreet(Failure(), self._secrets())
            self.factory.counts.refusals["failed"] += 1
            self.log.failure("[{who}] the handshake failed", failure, who=self.who)
            self.failHandshake("an internal error", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def _read_request(self, data: bytes) -> None:
        if not self._identified:
            self._identify()
        if self._answered or self.state == self.STATE_CLOSED:
            return
        if self._reader is None:
            self._reader = RequestReader()
        outcome = self._reader.feed(data)
        if outcome is None:
            return
        self._reader = None
        self._answered = True
        refusal = outcome if isinstance(outcome, Refusal) else self._objection(outcome)
        if refusal is not None:
            self._refuse(refusal)
        elif isinstance(outcome, PlainRequest):
            self._answer_plain(outcome)
        elif isinstance(outcome, Request):
            self._ask(outcome)

    def _introduce(self, address: object) -> None:
        self.who = f"{self.id} {peer_name(address)}"
        self.peer = peer_descriptor(address, self.transport)

    def _identify(self) -> None:
        """Take note of who the peer is: behind a balancer it is known by the first octets."""
        self._identified = True
        address = self.transport.getPeer()
        self._introduce(address)
        self.factory.limits.identify(self._admission, ip_address(address))
        self._drop_if_crowded()

    def _objection(self, request: Request | PlainRequest) -> Refusal | None:
        """Why a request that is right is not accepted all the same."""
        if self._admission.verdict is Verdict.REFUSED:
            return NO_ROOM
        if isinstance(request, PlainRequest):
            return None
        return check_origin(request, self.factory.allowed_origins)

    def _answer_plain(self, request: PlainRequest) -> None:
        answer = plain_answer(request, self.factory.page)
        if answer.status == http.HTTPStatus.UPGRADE_REQUIRED:
            self.factory.counts.refusals["no WebSocket"] += 1
        self.log.info("[{who}] {what}", who=self.who, what=answer.what)
        self._send_answer(answer.status, answer.headers, answer.body, request.method == "HEAD")
        self._end_refused(answer.what)

    def _refuse(self, refusal: Refusal) -> None:
        self.factory.counts.refusals[refusal.kind] += 1
        if refusal.status is not None:
            self.failHandshake(refusal.reason, refusal.status, list(refusal.headers))
        else:
            self._drop_refused(refusal.reason)

    def _drop_if_crowded(self) -> None:
        if self._admission.verdict is Verdict.DROPPED:
            self.factory.counts.refusals[NO_ROOM.kind] += 1
            self._drop_refused("too many connections, also of those to be refused", abort=True)

    def _drop_refused(self, reason: str, abort: bool = False) -> None:
        self.log.info("[{who}] dropped: {reason}", who=self.who, reason=reason[:_LOGGED_REASON])
        self._end_refused(reason, abort)

    def _end_refused(self, reason: str, abort: bool = False) -> None:
        self.failedByMe = True
        self.wasNotCleanReason = reason
        self.dropConnection(abort)

    def _ask(self, request: Request) -> None:
        """Ask the behaviour, by `onConnect`, and answer as it says."""
        self.channel = channel_of(request.path)
        if request.query:
            try:
                self._take_query(request.query, request.subprotocols)
            except ChannelError as error:
                # It has nothing of the query: the peer may be told as well.
                self._denial = f"{error}\n".encode()
                self._refuse(Refusal(http.HTTPStatus.BAD_REQUEST, str(error)))
                return
        self._request = request
        self._logged_as = self.factory.journal.name(self.who, self.channel)
        self._introduced = True
        try:
            decision = self.onConnect(
                ConnectionRequest(
                    self.peer,
                    self.http_headers,
                    self.http_request_host,
                    self.http_request_path,
                    self.http_request_params,
                    self.websocket_version,
                    self.websocket_origin,
                    self.websocket_protocols,
                    self.websocket_extensions,
                )
            )
        except BaseException:
            self._denied(Failure())
            return
        if decision is None:
            self.succeedHandshake(None)
            return
        # Nothing is read until it has decided.
        self._hold(Hold.DECIDING)
        decided = maybeDeferred(lambda: decision).addCallback(self.succeedHandshake)
        decided.addErrback(self._denied)

    def _denied(self, failure: Failure) -> None:
        error = failure.value
        # Another status than that of a refusal would leave the client waiting.
        if isinstance(error, ConnectionDeny) and 300 <= error.code <= 599:
            self.factory.counts.refusals["denied"] += 1
            self._denial = str(error.reason or "").encode(errors="replace")
            self.failHandshake(error.reason or "", error.code)
            return
        failure = discreet(failure, self._secrets())
        self.factory.counts.refusals["failed"] += 1
        self.log.failure("[{who}] onConnect failed", failure, who=self.who)
        self.failHandshake("", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def succeedHandshake(self, res: Any) -> None:
        """Answer with 101 and what `onConnect` returned. Raises `ValueError` if that cannot be."""
        subprotocol, headers = _checked_decision(res, self.websocket_protocols)
        if self.state != self.STATE_CONNECTING:
            return  # it was lost while onConnect decided
        if self._request.subprotocols:
            subprotocol = self._negotiated(subprotocol, self._request.subprotocols)
        self.websocket_protocol_in_use = subprotocol
        head = [_SWITCHING]
        for name, values in headers.items():
            head += [f"{name}: {value}" for value in _each(values)]
        if subprotocol is not None:
            head.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        head.append(f"Sec-WebSocket-Accept: {_accept_key(self.http_headers)}")
        if self._limits.compression and (extension := self._compress()):
            head.append(f"Sec-WebSocket-Extensions: {extension}")
        self.sendData("\r\n".join([*head, "", ""]).encode())
        self._has_opened = True
        self.state = self.STATE_OPEN
        counts = self.factory.counts
        counts.opened += 1
        counts.handshakes.observe(self._seconds() - self.since)
        if self.openHandshakeTimeoutCall is not None:
            self.openHandshakeTimeoutCall.cancel()
            self.openHandshakeTimeoutCall = None
        self._onOpen()
        if "is_open" in self.__dict__:
            self.is_open.callback(None)

    def _compress(self) -> str:
        """Speak permessage-deflate if it was offered: what the answer says of it."""
        offers = [
            PerMessageDeflateOffer.parse(parameters)
            for _, parameters in acceptable(self.websocket_extensions)
        ]
        accept = self.perMessageCompressionAccept(offers)
        if accept is None:
            return ""
        self._perMessageCompress = PerMessageDeflate.create_from_offer_accept(True, accept)
        extension: str = accept.get_extension_string()
        return extension

    def failHandshake(
        self, reason: str, code: int = 400, responseHeaders: list[tuple[str, str]] | None = None
    ) -> None:
        """Refuse, without a word of Autobahn's, in which the peer's own text stands."""
        if self.state != self.STATE_CONNECTING:
            return
        code = int(code)
        self.log.info(
            "[{who}] refused with {code}: {reason}",
            who=self.who,
            code=code,
            reason=masked(str(reason or ""), self._secrets())[:_LOGGED_REASON],
        )
        headers = [*TEXT] if self._denial else []
        self._send_answer(code, [*headers, *(responseHeaders or [])], self._denial)
        self._end_refused(reason)

    def _send_answer(
        self, code: int, headers: Iterable[tuple[str, str]], body: bytes, head_only: bool = False
    ) -> None:
        """Send a response of HTTP, the last one of this connection."""
        phrase = http.HTTPStatus(code).phrase if code in _STATUSES else ""
        lines = [("Connection", "close"), ("Content-Length", str(len(body))), *headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        octets = f"HTTP/1.1 {code} {phrase}\r\n{head}\r\n".encode()
        self.sendData(octets if head_only else octets + body)

    def _forget_heads(self) -> None:
        """Autobahn got none."""

    def _onOpen(self) -> None:
        self._join()
        if self.factory.says_more:
            self.log.detail("[{who}] open, at /{channel}", who=self.who, channel=self.channel)
        super()._onOpen()

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.factory.says_more:
            self.log.detail("[{who}] over, {code}", who=self.who, code=code)
        super()._onClose(wasClean, code, reason)

    def _secrets(self) -> Sequence[str]:
        request = self.__dict__.get("_request")
        return () if request is None else secrets_of(request)


def ip_address(address: object) -> str | None:
    """The IP address of an endpoint, if it has one."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else None


def descriptor(transport: Any) -> int:
    """The number of a transport's file descriptor, 0 where it has none of its own."""
    fileno = getattr(transport, "fileno", None)
    return 0 if fileno is None else int(fileno())


def _checked_decision(
    decision: Any, offered: list[str]
) -> tuple[str | None, Mapping[str, str | Iterable[str]]]:
    """A subprotocol and headers of what `onConnect` returned. Raises `ValueError` if it cannot."""
    subprotocol, headers = decision if isinstance(decision, tuple) else (decision, {})
    if subprotocol is not None and subprotocol not in offered:
        raise ValueError("onConnect returned a subprotocol that was not offered")
    for name, values in headers.items():
        for value in _each(values):
            if not TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"onConnect returned a header that is none: {name!r}")
    return subprotocol, headers


def _each(values: str | Iterable[str]) -> Iterable[str]:
    return [values] if isinstance(values, str) else values


def _accept_key(headers: Mapping[str, str]) -> str:
    """What proves that the request was understood (RFC 6455, 4.2.2)."""
    key = headers["sec-websocket-key"].encode() + _GUID
    return base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
