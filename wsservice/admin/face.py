"""The admin face: put together, started, stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ..config import Config
from ..counting import Counts, Histogram
from ..hub import LocalHub
from ..journal import Journal
from ..listening import endpoint, listen
from ..server import ServerFactory, ServerProtocol
from .access import Access, exposed, is_exposed
from .broker import BrokerFigures, Meeting, MeetingFigures, Servers, by_nodes
from .figures import Figures
from .history import HistoryFigures, Kept
from .inbox import Box, InboxFigures
from .lag import Lag
from .people import LocalPeople, People
from .publishing import Deliver, Delivery, Publishing
from .routes import Cluster, Routes
from .tracing import Traces
from .web import AdminFactory
from .webhook import Sender, WebhookFigures

Check = Callable[[], str | None]
"""Why the service is not ready, in a few words without anything of a peer's; None if it is."""

_log = Logger(namespace="wsservice")


_MOST_TO_PUBLISH = 1024 * 1024
_UNLIMITED = 16 * 1024 * 1024
"""Octets of a request to publish: as many as a peer's message may have, but so many at least,
and so many where that has no limit."""


def check(config: Config, reactor: Any) -> None:
    """Look for what a configuration says of the face, as making one does. Raises `ConfigError`."""
    if config.admin:
        _endpoint(config, reactor)
        Access.of(config)


def _endpoint(config: Config, reactor: Any) -> tuple[str, Any]:
    described = config.admin
    if described.startswith("unix:") and ":mode=" not in described:
        # Twisted's own would be for every user of the machine.
        described += ":mode=660"
    named = endpoint("--admin", described, reactor)
    if not config.admin_token_file:
        # What an endpoint says of itself; what it turns out to be is looked at once it listens.
        interface = getattr(named[1], "_interface", None)
        if interface in ("", "::", "0.0.0.0"):  # noqa: S104 - which is what is refused
            raise exposed(named[0], interface)
    return named


class Face:
    """The admin face of whatever has `people` and `figures`, and where `publishing` goes.

    `checks` are asked by /readyz, in their order; more may be added at any time.
    Raises `ConfigError` when made, and from `listen` too, which also raises `ListenError`.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        people: People,
        figures: Figures,
        publishing: Publishing,
        checks: list[Check],
    ) -> None:
        self._config = config
        #: Where it listens, with the option that names it.
        self.endpoint = _endpoint(config, reactor)
        self._checks = checks
        #: The connections of this service alone.
        self.people = people
        self.figures = figures
        self._routes = Routes(
            Access.of(config), people, self.reasons, figures, publishing, most_to_publish(config)
        )
        self._factory = AdminFactory(self._routes.respond, reactor, self._routes.room_for)
        self.ports: list[IListeningPort] = []

    def show_webhook(self, webhook: Sender) -> None:
        """Show how a webhook does, in /metrics."""
        self.figures.registry.register(WebhookFigures(webhook))

    def show_broker(self, servers: Servers, meeting: Meeting) -> None:
        """Show how the servers of --broker do, in /metrics, and what goes by way of them."""
        self.figures.registry.register(BrokerFigures(servers))
        self.figures.registry.register(MeetingFigures(meeting))

    def show_history(self, history: Kept) -> None:
        """Show how much a history keeps, in /metrics."""
        self.figures.registry.register(HistoryFigures(history))

    def join(self, cluster: Cluster) -> None:
        """Show all nodes of a cluster."""
        self._routes.join(cluster)

    def show_inbox(self, box: Callable[[], Box]) -> None:
        """Show what became of messages for the inbox, in /metrics."""
        self.figures.registry.register(InboxFigures(box))

    def reasons(self) -> list[str]:
        """Why the service is not ready, nothing if it is."""
        return [reason for check in self._checks if (reason := check()) is not None]

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `reloading.Part`: the token is read again, and how much may be published.

        Where it listens stays as it is.
        """
        if not config.admin_token_file:
            for port in self.ports:
                self._refuse_exposed(port)
        access = Access.of(config)

        def commit() -> list[str]:
            before, self._routes.access = self._routes.access, access
            self._routes.most = most_to_publish(config)
            return [] if before.token == access.token else ["the token of --admin"]

        return commit

    def listen(self) -> None:
        """Take the port."""
        if self.ports:
            return
        self.ports = listen([self.endpoint], self._factory)
        if not self._config.admin_token_file:
            for port in self.ports:
                try:
                    self._refuse_exposed(port)
                except Exception:
                    self._stop_listening()
                    raise

    def start(self) -> None:
        """Begin what goes on all the time."""

    def stop(self) -> Deferred[None]:
        """Take no more requests, let go of who asks: what was said leaves before.

        Fires when that is done, within a second or so.
        """
        return self._stop_listening().addCallback(lambda _: self._factory.end())

    def _refuse_exposed(self, port: IListeningPort) -> None:
        address: Any = port.getHost()
        if is_exposed(address):
            raise exposed(self.endpoint[0], address.host)

    def _stop_listening(self) -> Deferred[None]:
        ports, self.ports = self.ports, []
        stopping = [maybeDeferred(port.stopListening) for port in ports]
        for each in stopping:
            each.addErrback(lambda failure: _log.failure("cannot stop listening", failure))
        return DeferredList(stopping).addCallback(lambda _: None)


class Admin(Face):
    """The admin face of a service in one process."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        factory: ServerFactory,
        hub: LocalHub,
        journal: Journal,
        checks: list[Check],
    ) -> None:
        self._lag = Lag(reactor)
        self._traces = Traces(reactor)
        source = _Source(config, factory, hub, journal, self)
        people = LocalPeople(source.connections, hub, self._traces)
        publishing = Publishing(_deliver_by(hub, factory), factory.gathering.together, reactor)
        super().__init__(config, reactor, people, Figures(source, reactor), publishing, checks)

    @property
    def lag(self) -> Histogram:
        """How late the reactor calls."""
        return self._lag.seconds

    @property
    def traces(self) -> int:
        """How many traces are going on."""
        return len(self._traces)

    def start(self) -> None:
        """Measure what is measured all the time."""
        self._lag.start()

    def stop(self) -> Deferred[None]:
        """End traces too."""
        self._lag.stop()
        self._traces.end()
        return super().stop()


def most_to_publish(config: Config) -> int:
    """Octets that a message may have which an operator sends."""
    return max(config.max_message_size or _UNLIMITED, _MOST_TO_PUBLISH)


def _deliver_by(hub: LocalHub, factory: ServerFactory) -> Deliver:
    """Publishing: within this process, or by the servers at which it meets others."""
    if hasattr(hub, "deliver"):
        return by_nodes(hub)

    def deliver(channel: str, payload: bytes, is_binary: bool) -> Deferred[Delivery]:
        before = factory.slow_closed + factory.slow_dropped
        handed = hub.publish(channel, payload, is_binary)
        slow = factory.slow_closed + factory.slow_dropped - before
        return succeed(Delivery(handed, slow))

    return deliver


class _Source:
    """What the figures are made of."""

    def __init__(
        self, config: Config, factory: ServerFactory, hub: LocalHub, journal: Journal, admin: Admin
    ) -> None:
        self._config = config
        self._factory = factory
        self._hub = hub
        self._journal = journal
        self._admin = admin
        self.channel_sizes = hub.channel_sizes

    @property
    def counts(self) -> Counts:
        return self._factory.counts

    @property
    def publishing(self) -> Histogram:
        return self._hub.publishing

    @property
    def lag(self) -> Histogram:
        return self._admin.lag

    def connections(self) -> Iterable[ServerProtocol]:
        return cast("Iterable[ServerProtocol]", self._hub)

    def gauges(self) -> Mapping[str, float]:
        return {
            "ready": not self._admin.reasons(),
            "max_connections": self._config.max_connections,
            "traces": self._admin.traces,
        }

    def counters(self) -> Mapping[str, float]:
        factory = self._factory
        return {
            "slow_closed": factory.slow_closed,
            "slow_dropped": factory.slow_dropped,
            "slow_messages": factory.slow_messages,
            "log_dropped": self._journal.dropped,
        }
