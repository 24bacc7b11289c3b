"""The opening handshake, the server's side: who may connect, and how it is told.

The request is read by `request`, strictly, and judged by `policy`, before
Autobahn sees it, in a form that cannot be misread. What is refused is answered
without a word of the peer's own.
"""

from __future__ import annotations

import http
import re
from collections.abc import Callable
from typing import Any

from autobahn.twisted.util import peer2str
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .compression import acceptable
from .connection import Connection
from .policy import NO_ROOM, Verdict, channel_of, check_origin
from .request import TOKEN, Refusal, Request, RequestReader
from .transports import peer_name

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")

_STATUSES = frozenset(map(int, http.HTTPStatus))

_LOGGED_REASON = 200
"""Characters of a refusal's reason in the log; some of it is the peer's."""


class OpeningProtocol(Connection, WebSocketServerProtocol):  # type: ignore[misc]
    """A connection of a server, as far as its opening handshake goes."""

    factory: Any

    #: The connection's number in this process, a decimal string.
    id = ""

    #: The URL's path without slashes at its ends: whom `broadcast` reaches.
    channel = ""

    _denial = b""
    _request: Request | None = None
    _identified = False

    def connectionMade(self) -> None:
        self._admission = self.factory.admit(ip_address(self.transport.getPeer()))
        self._reader: RequestReader | None = RequestReader()
        self.id = next(self.factory.ids)
        self.who = f"{self.id} {peer_name(self.transport.getPeer())}"
        self.factory.hub.arrive(self)
        super().connectionMade()
        self._drop_if_crowded()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.hub.leave(self)
        self.factory.limits.leave(self._admission)
        super().connectionLost(reason)

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        self.factory.hub.settle(self)

    def _opening_received(self, data: bytes) -> None:
        try:
            self._read_request(data)
        except Exception:
            self.log.failure("[{who}] the handshake failed", who=self.who)
            self.failHandshake("an internal error", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def _read_request(self, data: bytes) -> None:
        self._identify()
        outcome = self._reader.feed(data) if self._reader is not None else None
        if outcome is None or self.state == self.STATE_CLOSED:
            return
        self._reader = None
        refusal = outcome if isinstance(outcome, Refusal) else self._objection(outcome)
        if refusal is not None:
            self._refuse(refusal)
        elif isinstance(outcome, Request):
            self._request = outcome
            super()._opening_received(outcome.canonical)

    def _identify(self) -> None:
        """Take note of who the peer is: behind a balancer it is known by the first octets."""
        if self._identified:
            return
        self._identified = True
        self.peer = peer2str(self.transport)
        address = self.transport.getPeer()
        self.who = f"{self.id} {peer_name(address)}"
        self.factory.limits.identify(self._admission, ip_address(address))
        self._drop_if_crowded()

    def _objection(self, request: Request) -> Refusal | None:
        """Why a request that is right is not accepted all the same."""
        if self._admission.verdict is Verdict.REFUSED:
            return NO_ROOM
        return check_origin(request, self.factory.allowed_origins)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.status is not None:
            self.failHandshake(refusal.reason, refusal.status, list(refusal.headers))
        else:
            self._drop_refused(refusal.reason)

    def _drop_if_crowded(self) -> None:
        if self._admission.verdict is Verdict.DROPPED:
            self._drop_refused("too many connections, also of those to be refused", abort=True)

    def _drop_refused(self, reason: str, abort: bool = False) -> None:
        self.log.info("[{who}] dropped: {reason}", who=self.who, reason=reason[:_LOGGED_REASON])
        self._end_refused(reason, abort)

    def _end_refused(self, reason: str, abort: bool = False) -> None:
        self.failedByMe = True
        self.wasNotCleanReason = reason
        self.dropConnection(abort)

    def decide(
        self, onConnect: Callable[[ConnectionRequest], Any], request: ConnectionRequest
    ) -> Deferred[Any]:
        """Run a behaviour's `onConnect`, and make of it what Autobahn can answer with."""
        if self._request is not None:
            # Autobahn strips more from a value than the white space that HTTP knows,
            # and cuts a path at a semicolon.
            self.http_headers = request.headers = dict(self._request.headers)
            self.http_request_path = request.path = self._request.path
            self._request = None
        self.channel = channel_of(request.path)
        decision = self._decide(onConnect, request)
        return decision.addCallback(_checked_decision, request).addErrback(self._denied)

    def _denied(self, failure: Failure) -> Failure:
        error = failure.value
        # Another status than that of a refusal would leave the client waiting.
        if isinstance(error, ConnectionDeny) and 300 <= error.code <= 599:
            self._denial = str(error.reason or "").encode(errors="replace")
            return failure
        self.log.failure("[{who}] onConnect failed", failure, who=self.who)
        return Failure(ConnectionDeny(http.HTTPStatus.INTERNAL_SERVER_ERROR.value, ""))

    def succeedHandshake(self, res: Any) -> None:
        if self.state == self.STATE_CONNECTING:  # else it was lost while onConnect decided
            self.websocket_extensions = (
                acceptable(self.websocket_extensions) if self._limits.compression else []
            )
            super().succeedHandshake(res)

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
            reason=str(reason or "")[:_LOGGED_REASON],
        )
        phrase = http.HTTPStatus(code).phrase if code in _STATUSES else ""
        body = self._denial
        headers = [
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            *([("Content-Type", "text/plain; charset=utf-8")] if body else []),
            *(responseHeaders or []),
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.sendData(f"HTTP/1.1 {code} {phrase}\r\n{head}\r\n".encode() + body)
        self._end_refused(reason)

    def _onOpen(self) -> None:
        self.factory.hub.join(self)
        super()._onOpen()


def ip_address(address: object) -> str | None:
    """The IP address of an endpoint, if it has one."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else None


def _checked_decision(decision: Any, request: ConnectionRequest) -> Any:
    """What `onConnect` returned, if it can be answered with. Raises `ValueError` if not."""
    subprotocol, headers = decision if isinstance(decision, tuple) else (decision, {})
    if subprotocol is not None and subprotocol not in request.protocols:
        raise ValueError(f"onConnect returned the subprotocol {subprotocol!r}, not one offered")
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            if not TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"onConnect returned a header that is none: {name!r}: {value!r}")
    return decision
