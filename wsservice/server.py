"""The server: what a behaviour is, the two that come with it, and the factory of connections."""

from __future__ import annotations

import http
import itertools
import re
from collections.abc import Callable
from typing import Any

from autobahn.twisted.util import peer2str
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .compression import acceptable, server_accept
from .config import Config
from .connection import Connection, common_options, deployed
from .hub import LocalHub
from .journal import Journal
from .policy import CloseCode, channel_of
from .transports import ReactorTimer, peer_name

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


class ServerProtocol(Connection, WebSocketServerProtocol):  # type: ignore[misc]
    """One client's connection. Subclass it, and override what you need of

    - `onConnect(request)`: a client asks to connect. Raise
      `autobahn.websocket.types.ConnectionDeny` to refuse it, return the name of
      a subprotocol to speak it.
    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: it is over.

    Each may be a plain method, `async def`, or return a Deferred. What one
    raises is logged, and closes this connection with 1011 (in `onConnect`:
    refuses it with 500). `self.sendMessage(payload, isBinary)` answers.
    """

    factory: ServerFactory

    #: The connection's number in this process, a decimal string.
    id = ""

    #: The URL's path without slashes at its ends: whom `broadcast` reaches.
    channel = ""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        """Write the message's line to the message log, and nothing else."""
        self.factory.journal.received(self.who, payload, isBinary)

    def broadcast(self, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to all open connections on this channel, this one included.

        Returns to how many it was handed.
        """
        return self.factory.hub.publish(self.channel, payload, isBinary)

    def go_away(self) -> None:
        """Say goodbye because the service stops: 1001, or 503 where the handshake is not done."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=CloseCode.GOING_AWAY)
        elif self.state == self.STATE_CONNECTING:
            self.failHandshake("the service stops", http.HTTPStatus.SERVICE_UNAVAILABLE)

    # What Twisted and Autobahn call

    def connectionMade(self) -> None:
        self.id = next(self.factory.ids)
        self.who = f"{self.id} {peer_name(self.transport.getPeer())}"
        self._denial = b""
        self.factory.hub.arrive(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.hub.leave(self)
        super().connectionLost(reason)

    def processHandshake(self) -> None:
        # Behind a balancer that speaks the PROXY protocol only now is it known.
        self.peer = peer2str(self.transport)
        self.who = f"{self.id} {peer_name(self.transport.getPeer())}"
        try:
            super().processHandshake()
        except Exception:
            self.log.failure("[{who}] the handshake failed", who=self.who)
            self.failHandshake("an internal error", http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def decide(
        self, onConnect: Callable[[ConnectionRequest], Any], request: ConnectionRequest
    ) -> Deferred[Any]:
        """Run a behaviour's `onConnect`, and make of it what Autobahn can answer with."""
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
        return Failure(ConnectionDeny(http.HTTPStatus.INTERNAL_SERVER_ERROR, ""))

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
            "[{who}] refused with {code}: {reason}", who=self.who, code=code, reason=reason
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
        self.failedByMe = True
        self.wasNotCleanReason = reason
        self.dropConnection()

    def _onOpen(self) -> None:
        self.factory.hub.join(self)
        super()._onOpen()


_STATUSES = frozenset(map(int, http.HTTPStatus))


def _checked_decision(decision: Any, request: ConnectionRequest) -> Any:
    """What `onConnect` returned, if it can be answered with. Raises `ValueError` if not."""
    subprotocol, headers = decision if isinstance(decision, tuple) else (decision, {})
    if subprotocol is not None and subprotocol not in request.protocols:
        raise ValueError(f"onConnect returned the subprotocol {subprotocol!r}, not one offered")
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            if not _TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"onConnect returned a header that is none: {name!r}: {value!r}")
    return decision


class GreetingServerProtocol(ServerProtocol):
    """Greets every client, logs every message."""

    def onOpen(self) -> None:
        if self.factory.greeting:
            self.sendMessage(self.factory.greeting)


class EchoServerProtocol(ServerProtocol):
    """Answers every message with itself, and logs none."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


def server_options(config: Config) -> dict[str, Any]:
    """Autobahn's options for a server, every one, by Autobahn's names."""
    return {
        **common_options(config),
        "versions": [13],
        "webStatus": False,
        "requireMaskedClientFrames": True,
        "maskServerFrames": False,
        "perMessageCompressionAccept": server_accept,
        "serveFlashSocketPolicy": False,
        "flashSocketPolicy": "",
        "allowedOrigins": ["*"],
        "allowedOriginsPatterns": [re.compile("")],
        "allowNullOrigin": True,
        "maxConnections": 0,
        "trustXForwardedFor": 0,
    }


class ServerFactory(WebSocketServerFactory):
    """Makes the connections of a service.

    `protocol` is the behaviour, a subclass of `ServerProtocol`. Handshake and
    close timeouts run on `reactor`.
    """

    noisy = False

    def __init__(
        self,
        config: Config,
        protocol: type[ServerProtocol],
        journal: Journal,
        hub: LocalHub,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(server="", reactor=reactor)
        self.journal = journal
        #: Messages left out because a peer read too slowly, and connections closed for it.
        self.slow_messages = 0
        self.slow_closed = 0
        self.hub = hub
        self.greeting = config.greeting.encode()
        self.ids = map(str, itertools.count(1))
        self._batched_timer = ReactorTimer(reactor)
        options = server_options(config)
        for name, value in options.items():
            setattr(self, name, value)

        def onConnect(self: ServerProtocol, request: ConnectionRequest) -> Deferred[Any]:
            return self.decide(super(guarded, self).onConnect, request)  # type: ignore[misc]

        guarded = deployed(protocol, config, options, onConnect=onConnect)
        self.protocol = guarded
