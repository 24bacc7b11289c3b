"""The server: the class of behaviours, the two built in, and the factory of connections."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from ..auth.contract import User
from ..auth.rules import ChannelRules
from ..channels.contract import Hub
from ..channels.envelopes import Envelope, of_gap
from ..channels.gate import MemoryGate
from ..channels.query import MOST_NAMED, ChannelQuery, Position
from ..channels.resuming import CatchUp
from ..clock import monotonic_of
from ..config.close_codes import CloseCode
from ..config.config import Config
from ..config.origins import AllowedOrigins
from ..errors import CredentialError
from ..http.forwarded import TrustedProxies
from ..http.refusal import Refusal
from ..log.journal import Journal
from ..metrics import Counts
from ..net.memory import for_messages
from ..net.proxied import PREFIX
from ..net.timers import Timers
from ..net.transports import abort_connection
from ..protocol.options import ConnectionFactory, deployed, redeploy
from ..protocol.sending import Kind, Sent
from ..protocol.watching import Watched, Watcher
from .admission import CLOSED_BY_OPERATOR, STOPPING, Admission, ConnectionLimits
from .identity import NO_USER
from .latest import last_of, of_kept
from .opening import OpeningProtocol
from .options import server_options
from .page import PUBLIC, Page, load
from .peers import Proxies, address_key_of, ip_address
from .permitted import not_told
from .rates.rates import Rates
from .seats import Seats

if TYPE_CHECKING:
    from ..auth.identification import Identification


class ServerProtocol(OpeningProtocol):
    """One client's connection. Subclass it, and override some of these methods:

    - `onConnect(request)`: a client asks to connect. Raise
      `autobahn.websocket.types.ConnectionDeny` to refuse it, return the name of
      a subprotocol to speak it.
    - `onOpen()`: the connection is open.
    - `onMessage(payload: bytes, isBinary: bool)`: a message came in.
    - `onClose(wasClean: bool, code: int | None, reason: str | None)`: the connection is over.
    - `onJoin(channel: str)`: it joined a channel; called for each, after `onOpen`.
    - `onLeave(channel: str)`: it left a channel, before `onClose`. Call
      `self.factory.hub.publish(channel, payload)` to tell those that are still on it.

    Each may be a plain method, `async def`, or return a Deferred. An exception in one is logged,
    and closes this connection with 1011 (in `onConnect`: refuses it with 500). Call
    `self.sendMessage(payload, isBinary)` to answer, `self.close(code, reason)` to close.

    `onClose` gets the peer's code, or the code that this end closed with:

    - 1002, 1007 to 1009: the peer broke a rule.
    - 1011: a callback failed, or the peer did not answer a ping.
    - 1001: the service stops.
    - 1013: the peer read too slowly, or the service has too much to do: `--overload-code` may
      name another code.
    - 1006: there was no close frame.
    - None: the peer's close frame had no code.

    `self.user` is the user that the credential of the request names, None without one; `onConnect`
    may set it. `self.factory.hub.send_user(id, payload)` sends to all connections of a user.

    `self.channel` is the URL's path. `self.channels` has the channels of the path and of the
    query; any web page can name them, and `onConnect` may refuse them.

    `self.permissions.may("publish", channel)` says what `--auth` and the rules of channels let the
    client do. Ask it before you publish what a client sent.
    """

    factory: ServerFactory

    #: True if the behaviour overrides `onJoin` or `onLeave`.
    _tells_of_channels = False
    _told_of: tuple[str, ...] = ()

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Accept every client, without a subprotocol."""
        # Autobahn's method accepts too, but formats a debug line that is dropped.

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        """Write the message's line to the message log."""
        self.factory.journal.received(self._logged_as, payload, isBinary)

    def onJoin(self, channel: str) -> Any:
        """Do nothing, unless overridden."""

    def onLeave(self, channel: str) -> Any:
        """Do nothing, unless overridden."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._tells_of_channels = cls.onJoin is not _ON_JOIN or cls.onLeave is not _ON_LEAVE
        cls._takes_all = cls.onMessage is _LOG_MESSAGE

    def _accepts_all(self) -> bool:
        # Evaluated at each call, as below.
        return getattr(self.onConnect, "__func__", None) is _ON_CONNECT

    def take_all(self, messages: list[tuple[bytes, bool, int]]) -> bool:
        # Evaluated at each call: the class or the connection may get another method at any time.
        logs = getattr(self.onMessage, "__func__", None) is _LOG_MESSAGE
        if logs:
            self.factory.journal.received_all(self._logged_as, messages)
        return logs

    def _opened(self) -> None:
        if self._catch_up is not None:
            # After what `onOpen` sent: a greeting comes before what was said before it.
            self._catch_up.start()
        if self._tells_of_channels and self.state != self.STATE_CLOSED:
            for channel in self.channels:
                self._reader.callbacks.call(self, self._tell_joined, channel)

    def _join(self, asked: ChannelQuery) -> None:
        """Join the channels of an open connection, after it has got the messages it missed."""
        hub = self.factory.hub
        if asked.history:
            hub.join(self, behind=True)
            first = of_kept(self, last_of(self, asked))
            self._catch_up = CatchUp(self, self._queue, first, self._caught_up)
        elif not self.speaks_envelopes:
            hub.join(self)
        elif not hub.has_history:
            hub.join(self)
            for channel in asked.since:
                self.tell_gap(channel)
        else:
            hub.join(self, behind=True)
            since = {channel: asked.since.get(channel) for channel in self.channels}
            for channel in not_told(self, (each for each in since if each in asked.since)):
                since[channel] = None
                self.tell_gap(channel)
            self._fetch(of_kept(self, since))

    def fall_behind(self, channel: str, since: Position) -> None:
        """Fetch the messages of a channel after a position, before any new one is sent.

        The hub calls this if messages were lost on their way.
        """
        self._fetch({channel: since})

    def tell_gap(self, channel: str) -> None:
        """Tell the client that messages of a channel may be missing, at an unknown position."""
        if self.speaks_envelopes:
            self.send_envelope(of_gap(channel, None))

    def send_envelope(self, envelope: bytes) -> Sent:
        """Send an envelope that must not be left out, however slowly the peer reads."""
        if self.state != self.STATE_OPEN or self._framing is None:
            return Sent.CLOSED
        frame = self._framing.frame_of(Envelope(envelope))
        if self._queue.full and not self._make_room(len(frame)):
            return Sent.SLOW
        return self._queue.put(frame, Kind.KEPT)

    def left_behind(self, count: int) -> None:
        """Apply the slow-client policy: messages left the history that it had to be sent."""
        self._slow().left_behind(self, self._common, count)

    def _fetch(self, channels: Mapping[str, Position | None]) -> None:
        """Catch up on channels, each from a position, or from its current one with None."""
        if self._catch_up is None:
            self._catch_up = CatchUp(self, self._queue, channels, self._caught_up)
            self._catch_up.start()
        else:
            self._catch_up.add(channels)

    def _caught_up(self) -> None:
        self._catch_up = None

    def resumeProducing(self) -> None:
        """Go on after the transport has sent all octets. Twisted calls this."""
        super().resumeProducing()
        if self._catch_up is not None:
            self._catch_up.has_room()

    def _tell_joined(self, channel: str) -> Any:
        # A behaviour whose `onJoin` was not called gets no `onLeave` either.
        self._told_of += (channel,)
        return self.onJoin(channel)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        for channel in self._told_of:
            self._reader.callbacks.call(self, self.onLeave, channel)
        super()._onClose(wasClean, code, reason)

    def _farewells(self) -> tuple[Callable[..., object], ...]:
        return (self.onLeave, *super()._farewells())

    def broadcast(self, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to all open connections on this path's channel, this one included.

        Return the number of connections that took it. Raises as the hub's `publish`.
        """
        return self.factory.hub.publish(self.channel, payload, isBinary)

    def renew(self, token: str) -> Deferred[User]:
        """Check a new token of this connection's user, and put it in the place of the old one.

        The connection is then closed when the new token expires. Call this where a behaviour gets
        one from its client, such as in `onMessage`. The Deferred fires with the new `User`, which
        `user` is from then on. It fails with `wsservice.auth.CredentialError` if the token is
        bad, is another user's, or cannot be checked now, and the connection stays as it is. If no
        callback catches that error, it closes the connection with 1008. Bad tokens count for
        `--auth-failures`.
        """
        return (
            fail(CredentialError(NO_USER))
            if self._identified is None
            else (self._identified.renew(token))
        )

    def callback_failed(self, failure: Failure) -> None:
        """Log the failure of a callback, and close with 1011; with 1008 for `CredentialError`."""
        if not failure.check(CredentialError):
            super().callback_failed(failure)
            return
        # No fault of the behaviour, so without a traceback: a peer could fill the log.
        self._reader.callbacks.forget(*self._farewells())
        if self.state != self.STATE_CLOSED:
            self.fail_connection(CloseCode.POLICY_VIOLATION, str(failure.value))

    def watch(self, watcher: Watcher) -> None:
        """Show octets to a watcher from now on. The connection must be open."""
        if self._watched is None:
            self._watched = Watched(self, self._queue)
        self._watched.add(watcher, self._reader)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop showing octets to a watcher. Idempotent."""
        if self._watched is not None:
            self._watched.remove(watcher)
            if not self._watched.watchers:
                self._watched = None

    def go_away(self) -> None:
        """Close because the service stops: with 1001, or 503 before the handshake is done."""
        self._part(CloseCode.GOING_AWAY, "", STOPPING)

    def drop(self) -> None:
        """End the connection at once, without a close frame. Do nothing if it is over."""
        abort_connection(self.transport)

    def close_for_operator(self, code: int, reason: str) -> None:
        """Close because an operator wants it, or answer 503 before the handshake is done.

        `code` is one that may be sent, `reason` has at most 123 octets of UTF-8.
        """
        self._part(code, reason, CLOSED_BY_OPERATOR)

    def _part(self, code: int, reason: str, refusal: Refusal) -> None:
        if self.state == self.STATE_OPEN:
            self.close(code, reason)
        elif self.state == self.STATE_CONNECTING:
            first = self._shake_hands().first
            if first is not None:
                first.code = code
                refusal = attrs.evolve(refusal, problem=reason or refusal.problem, cure="")
            self._refuse(refusal)


_LOG_MESSAGE = ServerProtocol.onMessage
_ON_CONNECT = ServerProtocol.onConnect
_ON_JOIN, _ON_LEAVE = ServerProtocol.onJoin, ServerProtocol.onLeave


class GreetingServerProtocol(ServerProtocol):
    """Greets every client, logs every message."""

    def onOpen(self) -> None:
        if self.factory.greeting:
            self.sendMessage(self.factory.greeting)


class EchoServerProtocol(ServerProtocol):
    """Sends every message back, and logs none."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


@implementer(IProtocolNegotiationFactory)
class ServerFactory(ConnectionFactory, WebSocketServerFactory):  # type: ignore[misc]
    """Makes the connections of a service.

    `protocol` is the behaviour, a subclass of `ServerProtocol`. Handshake and
    close timeouts run on `reactor`. `ids` are those of connections, by default 1, 2 and so on.
    `limits` decide on connections, by default those of the configuration, `seats` on those of one
    user.
    """

    noisy = False

    #: The counts of connections.
    allowed_origins: AllowedOrigins
    greeting: bytes
    page: Page | None

    #: The path of health checks, "" for none, and the function that returns True if all is well.
    health_path: str
    is_ready: Callable[[], bool]

    #: The rules of channels, None where nobody is judged: without `--auth`.
    channel_rules: ChannelRules | None = None
    #: Finds the users of clients, None if they are asked for no credential.
    identification: Identification | None = None

    #: True while the service stops: handshakes are refused then.
    is_stopping = False

    #: True if debug lines are logged.
    says_more: bool

    #: The most channels that a query may name.
    most_named: int
    #: The proxies whose headers are believed, None if there are none.
    proxies: Proxies | None

    def __init__(
        self,
        config: Config,
        protocol: type[ServerProtocol],
        journal: Journal,
        hub: Hub,
        reactor: IReactorTime,
        ids: Iterator[str] | None = None,
        limits: ConnectionLimits | None = None,
        seats: Seats | None = None,
    ) -> None:
        super().__init__(server="", reactor=reactor)
        self.journal = journal
        self.hub = hub
        hub.slow = lambda: self.slow_closed + self.slow_dropped
        self.counts = Counts()
        self.ids = ids or map(str, itertools.count(1))
        if limits is None:
            limits = ConnectionLimits(
                config.max_connections,
                config.max_connections_per_ip,
                seconds=monotonic_of(reactor),
            )
        self.limits = limits
        self.seats = seats or Seats()
        self.seats.hub = hub
        #: True if the first octets of a connection may name its peer.
        self.peers_come_later = any(each.startswith(PREFIX) for each in config.listen)
        self._batched_timer = Timers(reactor)
        self.gate = MemoryGate(self.budget, reactor)
        self._deployed = deployed(protocol, config, server_options(config), reactor)
        self.protocol = self._deployed
        #: How fast clients may connect and send.
        self.rates = Rates(self._deployed._common, self._batched_timer, limits, address_key_of)
        self.is_ready = lambda: True
        self.prepare(config)()

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies options, limits, origins, proxies and the greeting."""
        options = server_options(config)
        trusted = TrustedProxies.of(config.trust_proxy)
        allowed_origins = AllowedOrigins.of(config.allow_origin)
        shown = None if config.no_page else load(PUBLIC)
        rules = ChannelRules(config.channels) if config.auth else None

        def commit() -> None:
            for name, value in options.items():
                setattr(self, name, value)
            redeploy(self._deployed, config, options)
            self.allowed_origins = allowed_origins
            self.channel_rules = rules
            self.proxies = Proxies(trusted, monotonic_of(self.reactor)) if trusted else None
            self.budget.limit = for_messages(config.memory_for_messages)
            self.limits.change(config.max_connections, config.max_connections_per_ip)
            self.seats.change(config.max_connections_per_user, config.user_limit_closes)
            self.rates.change(config)
            # The path names one more.
            self.most_named = min(MOST_NAMED, (config.max_subscriptions or MOST_NAMED + 1) - 1)
            self.greeting = config.greeting.encode()
            self.page = shown
            self.health_path = config.health_path
            self.says_more = config.log_level == "debug"

        return commit

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols within TLS, for ALPN (RFC 7301). RFC 8441 would be another."""
        # Without this, Twisted's TLS fails with every client that uses ALPN, as browsers do.
        return [b"http/1.1"]

    def count_refusal(self, kind: str) -> None:
        """Count a connection that was dropped before its request: see `proxied.CountsRefusals`."""
        self.counts.refusals[kind] += 1

    def admit(self, address: object, descriptor: int) -> Admission:
        """Count a connection from `address`, of a balancer as of a peer, and judge it.

        It does not count for the address of a proxy whose request will name the client.
        """
        later = self.peers_come_later or (self.proxies is not None and self.proxies.trusts(address))
        return self.limits.arrive(None if later else ip_address(address), descriptor)
