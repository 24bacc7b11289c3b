"""The server: what a behaviour is, the two that come with it, and the factory of connections."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from zope.interface import implementer

from .compression import server_accept
from .config import Config
from .counting import Counts
from .factory import ConnectionFactory, common_options, deployed, redeploy
from .hub import LocalHub
from .journal import Journal
from .opening import OpeningProtocol
from .page import PUBLIC, Page, load
from .policy import (
    CLOSED_BY_OPERATOR,
    STOPPING,
    Admission,
    AllowedOrigins,
    CloseCode,
    ConnectionLimits,
)
from .reading import BATCH
from .request import Refusal
from .timers import Timers

_LOGGED_BATCH = 256
"""Messages that are decoded at once where all that is done with them is to log them."""


class ServerProtocol(OpeningProtocol):
    """One client's connection. Subclass it, and override what you need of

    - `onConnect(request)`: a client asks to connect. Raise
      `autobahn.websocket.types.ConnectionDeny` to refuse it, return the name of
      a subprotocol to speak it.
    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: it is over.
    - `onJoin(channel: str)`: it is on a channel now, after `onOpen`; called for each of them.
    - `onLeave(channel: str)`: it is so no more, before `onClose`. Those that are left can be
      told: `self.factory.hub.publish(channel, payload)`.

    Each may be a plain method, `async def`, or return a Deferred. What one
    raises is logged, and closes this connection with 1011 (in `onConnect`:
    refuses it with 500). `self.sendMessage(payload, isBinary)` answers.

    `self.channel` is the URL's path, `self.channels` all that the connection is
    on or wants to be: those named in the query too, which a page of anybody may
    ask for. `onConnect` may refuse them.
    """

    factory: ServerFactory

    #: Whether somebody wants to be told of channels.
    _tells_of_channels = False
    _told_of: tuple[str, ...] = ()

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Accept whoever asks, without a subprotocol."""
        # Autobahn's does, and formats a line of debugging that is dropped.

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        """Write the message's line to the message log, and nothing else."""
        self.factory.journal.received(self._logged_as, payload, isBinary)

    def onJoin(self, channel: str) -> Any:
        """Nothing, unless overridden."""

    def onLeave(self, channel: str) -> Any:
        """Nothing, unless overridden."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._tells_of_channels = cls.onJoin is not _ON_JOIN or cls.onLeave is not _ON_LEAVE
        cls._takes_all = cls.onMessage is _LOG_MESSAGE
        cls._batch = _LOGGED_BATCH if cls._takes_all else BATCH

    def _take_all(self, messages: list[tuple[bytes, bool, int]]) -> bool:
        # Asked each time: it may be replaced on the class or on the connection at any time.
        logs = getattr(self.onMessage, "__func__", None) is _LOG_MESSAGE
        if logs:
            self.factory.journal.received_all(self._logged_as, messages)
        return logs

    def _opened(self) -> None:
        if self._tells_of_channels and self.state != self.STATE_CLOSED:
            for channel in self.channels:
                self._call(self._tell_joined, channel)

    def _tell_joined(self, channel: str) -> Any:
        # Only who was told that it joined is told that it left.
        self._told_of += (channel,)
        return self.onJoin(channel)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        for channel in self._told_of:
            self._call(self.onLeave, channel)
        super()._onClose(wasClean, code, reason)

    def _farewells(self) -> tuple[Callable[..., object], ...]:
        return (self.onLeave, *super()._farewells())

    def broadcast(self, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to all open connections on this path's channel, this one included.

        Returns to how many it was handed.
        """
        return self.factory.hub.publish(self.channel, payload, isBinary)

    def go_away(self) -> None:
        """Say goodbye because the service stops: 1001, or 503 where the handshake is not done."""
        self._part(CloseCode.GOING_AWAY, "", STOPPING)

    def drop(self) -> None:
        """End the connection at once, without a word."""
        self.transport.abortConnection()

    def close_for_operator(self, code: int, reason: str) -> None:
        """Say goodbye because somebody who runs the service wants it, or 503 as above.

        `code` is one that may be sent, `reason` has at most 123 octets of UTF-8.
        """
        self._part(code, reason, CLOSED_BY_OPERATOR)

    def _part(self, code: int, reason: str, refusal: Refusal) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode() or None)
        elif self.state == self.STATE_CONNECTING:
            self._refuse(refusal)


_LOG_MESSAGE = ServerProtocol.onMessage
_ON_JOIN, _ON_LEAVE = ServerProtocol.onJoin, ServerProtocol.onLeave


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
        "perMessageCompressionAccept": partial(
            server_accept, keeps_context=config.slow_client == "close"
        ),
        "serveFlashSocketPolicy": False,
        "flashSocketPolicy": "",
        "allowedOrigins": ["*"],
        "allowedOriginsPatterns": [re.compile("")],
        "allowNullOrigin": True,
        "maxConnections": 0,
        "trustXForwardedFor": 0,
    }


@implementer(IProtocolNegotiationFactory)
class ServerFactory(ConnectionFactory, WebSocketServerFactory):  # type: ignore[misc]
    """Makes the connections of a service.

    `protocol` is the behaviour, a subclass of `ServerProtocol`. Handshake and
    close timeouts run on `reactor`.
    """

    noisy = False

    #: What there is to say of connections.
    allowed_origins: AllowedOrigins
    greeting: bytes
    page: Page | None

    #: Whether lines of debugging are logged.
    says_more: bool

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
        self.hub = hub
        self.counts = Counts()
        self.ids: Iterator[str] = map(str, itertools.count(1))
        self.limits = ConnectionLimits(config.max_connections, config.max_connections_per_ip)
        self._peers_come_later = any(each.startswith("haproxy:") for each in config.listen)
        self._batched_timer = Timers(reactor)
        self._deployed = deployed(protocol, config, server_options(config), reactor)
        self.protocol = self._deployed
        self.prepare(config)()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`: options, limits and origins, and what clients are sent first."""
        options = server_options(config)
        allowed_origins = AllowedOrigins.of(config.allow_origin)
        shown = None if config.no_page else load(PUBLIC)

        def commit() -> None:
            for name, value in options.items():
                setattr(self, name, value)
            redeploy(self._deployed, config, options)
            self.allowed_origins = allowed_origins
            self.limits.change(config.max_connections, config.max_connections_per_ip)
            self.greeting = config.greeting.encode()
            self.page = shown
            self.says_more = config.log_level == "debug"

        return commit

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken within TLS (ALPN, RFC 7301; RFC 8441 would be another)."""
        # Without this, Twisted's TLS fails with all who name what they speak, as browsers do.
        return [b"http/1.1"]

    def admit(self, address: str | None, descriptor: int) -> Admission:
        """Count a connection from `address`, of a balancer as of a peer, and judge it."""
        return self.limits.arrive(None if self._peers_come_later else address, descriptor)
