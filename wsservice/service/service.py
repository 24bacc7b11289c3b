"""The service of one process: its parts, with an admin face and the other nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ..config.config import Config
from ..net.descriptors import Shares, in_use, limit_for
from ..net.listening import Renewal, endpoints
from ..net.notify import ServiceManager
from ..protocol import frames
from .drain import kept_open
from .parts import (
    ConnectionParts,
    Hooks,
    given_back,
    hooks_of_cluster,
    hooks_of_face,
    one_after_another,
)
from .reloading import Reloadable

if TYPE_CHECKING:
    from ..admin import Admin
    from ..cluster import Cluster
    from ..directory.readiness import Check

_log = Logger(namespace="wsservice")

_LEEWAY = 5.0
"""Seconds that stopping may take on top of `Config.drain`."""


class WebSocketService(Service):
    """A WebSocket server as a Twisted service. It reports its state to `manager`.

    The constructor raises `ConfigError` or `JournalError`. `listen` raises `ListenError`; it runs
    when the service starts, unless it was called before.
    """

    #: The admin face, None without one.
    admin: Admin | None = None
    #: The nodes of the service, None without a broker.
    cluster: Cluster | None = None

    def __init__(self, config: Config, reactor: Any, manager: ServiceManager | None = None) -> None:
        self.config = config
        self.manager = manager or ServiceManager(reactor)
        self._reactor = reactor
        self._endpoints = endpoints(config, reactor)
        self._parts = parts = ConnectionParts(config, reactor)
        self.engine, self.meeting = parts.engine, parts.meeting
        self.webhook, self.inbox = parts.webhook, parts.inbox
        self.journal, self.hub, self.factory = parts.journal, parts.hub, parts.factory
        self.ports: list[IListeningPort] | None = None
        self._stopping = False
        #: The checks of /readyz. Add every other dependency of the service here.
        self.checks: list[Check] = [self._not_running, *parts.hooks.checks]
        self.factory.is_ready = lambda: all(check() is None for check in self.checks)
        self._face = self._open_admin()
        self._nodes = self._open_cluster()
        self._renewal = Renewal([*self._endpoints, *self._face.endpoints], reactor)
        if self.admin is not None:
            self.admin.show_certificates(self._renewal)
        #: The parts that a reload changes, in this order.
        self.parts: list[Reloadable] = [
            self._renewal,
            self.factory,
            self.journal,
            self,
            *self._face.reloads,
            *parts.hooks.reloads,
        ]

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies the time to drain and the limit on connections."""

        def commit() -> None:
            before, self.config = self.config, config
            if before.max_connections != config.max_connections:
                self._fit()

        return commit

    def _open_admin(self) -> Hooks:
        if not self.config.admin:
            return Hooks()
        # Imported here, since only the admin face needs twisted.web.
        from ..admin import Admin

        self.admin = Admin(
            self.config, self._reactor, self.factory, self.hub, self.journal, self.checks
        )
        for show in self._parts.hooks.shows:
            show(self.admin)
        return hooks_of_face(self.admin)

    def _open_cluster(self) -> Hooks:
        if self.engine is None:
            return Hooks()
        # Imported here, since only a node among others needs it.
        from ..cluster import local_home, open_cluster

        people = None if self.admin is None else self.admin.people
        home = local_home(self.hub, people, self.checks, self._reactor)
        self.cluster = open_cluster(self.config, self._reactor, self.engine, home)
        if self.admin is not None:
            self.admin.join(self.cluster)
        self.hub.whole = self.cluster.presence.ask
        return hooks_of_cluster(self.cluster)

    def _not_running(self) -> str | None:
        if self._stopping:
            return "draining"
        return None if self.running else "starting"

    def listen(self) -> None:
        """Take the ports. Connections are served once the reactor runs."""
        if self.ports is None:
            ports = self._parts.listen(self._endpoints)
            with given_back(ports):
                for listen in self._face.listens:
                    listen()
            self.ports = ports

    def privilegedStartService(self) -> None:
        self.listen()
        super().privilegedStartService()

    def startService(self) -> None:
        self.listen()
        _log.info("messages are read by the {codec} codec", codec=frames.CODEC)
        # Wait until the reactor runs, since it opens descriptors of its own.
        self._reactor.callWhenRunning(self._fit)
        self._reactor.callWhenRunning(self._say_ready)
        self._stopping = self.factory.is_stopping = False
        self._renewal.warn()
        for start in self._parts.hooks.starts:
            start()
        super().startService()
        for start in (*self._face.starts, *self._nodes.starts):
            start()

    def _say_ready(self) -> None:
        self.manager.ready(lambda: f"connections: {len(self.hub)}")

    def _fit(self) -> None:
        """Reserve descriptors for other files, and log the number of connections that fit."""
        limit = limit_for(self._reactor)
        shares = Shares.of(limit)
        self.factory.limits.reserve(shares.first_reserved, shares.refusals)
        room, most = shares.room(in_use() - len(self.hub)), self.config.max_connections
        if room < most:
            _log.warn(
                "--max-connections {most} does not fit: at most {limit} files may be open, which"
                " leaves room for {room}; more are refused with 503, until the hard limit is"
                " raised (ulimit -n, LimitNOFILE=)",
                most=most,
                limit=limit,
                room=room,
            )
        _log.info("up to {count} connections", count=min(room, most) if most else room)

    def stopService(self) -> Deferred[None]:
        """Stop listening, close all connections with 1001, and close the message log.

        With `Config.health_path` the ports stay open meanwhile: health checks are answered with
        503, and handshakes are refused.

        Many connections get their close frame one after another, over at most half of
        `Config.drain` seconds. After these seconds, the rest is dropped. Then webhook and inbox
        send what they hold, in the time that is left. The admin face closes last, so that it
        answers during the drain. The Deferred fires when all of this is done.
        """
        self._stopping = True
        super().stopService()
        self.manager.stopping(self.config.drain + _LEEWAY)
        ports, self.ports = self.ports or [], None
        kept = kept_open(self.config, self._endpoints, ports)
        drained = self._parts.drain(
            ports, kept, self.hub, self.config.drain, leave=self._nodes.stops
        )
        last = [self.manager.stopped, *self._face.stops]
        return drained.addCallback(lambda _: one_after_another(last))
