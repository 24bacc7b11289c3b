"""Run the admin face: build it from its parts, start it and stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ..broker.figures import Box, BrokerFigures, InboxFigures, Meeting, MeetingFigures, Servers
from ..channels.contract import Hub
from ..channels.figures import HistoryFigures, Kept
from ..clock import monotonic_of, wall_of
from ..config.config import Config
from ..directory.lag import Lag
from ..directory.people import LocalPeople, People
from ..directory.readiness import Check, reasons_of
from ..directory.tracing import Traces
from ..log.journal import Journal
from ..log.peer import Seldom
from ..metrics import Counts, Histogram
from ..net.figures import CertificateFigures
from ..net.listening import Renewal, endpoint, listen
from ..net.proxied import PREFIX
from ..private.of_twisted import interface_of
from ..server.behaviours import ServerFactory, ServerProtocol
from .access import Access, behind_gateway, exposed, is_exposed
from .actions import ActionFigures
from .exchange import AdminRequest, Answer, Stream
from .figures import Figures
from .guesses import Guesses, address_of
from .publishing import Publishing
from .routes import ReadHistory, Routes
from .ticketing import Ticketing
from .web import AdminFactory

if TYPE_CHECKING:
    from ..auth.tickets import TicketStore
    from ..cluster import Cluster
    from ..webhook.figures import CountedWebhook

_log = Logger(namespace="wsservice")


def check(config: Config, reactor: Any) -> None:
    """Check a configuration as `Face` does. Raises `ConfigError`."""
    if config.admin:
        _endpoint(config, reactor)
        Access.of(config)


def _endpoint(config: Config, reactor: Any) -> tuple[str, Any]:
    described = config.admin
    if described.startswith("unix:") and ":mode=" not in described:
        # By Twisted's own default, every user of the machine could connect.
        described += ":mode=660"
    named = endpoint("--admin", described, reactor)
    if not config.admin_token_file:
        # The interface that the endpoint names. Its real address is checked once it listens.
        interface = interface_of(named[1])
        if interface in ("", "::", "0.0.0.0"):  # noqa: S104 - which is what is refused
            raise exposed(named[0], interface)
        if described.startswith(PREFIX):
            raise behind_gateway(named[0])
    return named


class Face:
    """The admin face of a service: of `people`, `figures` and `publishing`.

    /readyz asks `checks` in their order; checks may be added at any time. Raises `ConfigError` for
    a setting that is refused. `listen` raises it too, and `ListenError`.
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
        self._reactor = reactor
        #: The endpoint, with the option that names it.
        self.endpoint = _endpoint(config, reactor)
        #: Returns the reasons why the service is not ready; an empty list if it is.
        self.reasons = reasons_of(checks)
        #: The connections of this node only.
        self.people = people
        self.figures = figures
        access = Access.of(config, Guesses(monotonic_of(reactor)))
        self._routes = Routes(
            access, people, self.reasons, figures, publishing, config.most_to_publish
        )
        figures.registry.register(ActionFigures(self._routes.actions, access))
        self._factory = AdminFactory(self._respond, reactor, self._room_for)
        self._gateways = Seldom(monotonic_of(reactor))
        self._guessers = Seldom(monotonic_of(reactor))
        self.ports: list[IListeningPort] = []

    def show_webhook(self, webhook: CountedWebhook) -> None:
        """Add a webhook to /metrics."""
        # Imported here, since only a service with a webhook needs an HTTP client.
        from ..webhook.figures import WebhookFigures

        self.figures.registry.register(WebhookFigures(webhook))

    def show_broker(self, servers: Servers, meeting: Meeting) -> None:
        """Add the servers of --broker, and the messages by way of them, to /metrics."""
        self.figures.registry.register(BrokerFigures(servers))
        self.figures.registry.register(MeetingFigures(meeting))

    def take_tickets(self, store: TicketStore) -> None:
        """Make tickets on request, for the clients of the service."""
        ticketing = self._routes.ticketing = Ticketing(store, wall_of(self._reactor))
        ticketing.is_on = bool(self._config.auth)
        self.figures.registry.register(ticketing)

    def show_history(self, history: Kept) -> None:
        """Add a history to /metrics."""
        self.figures.registry.register(HistoryFigures(history))

    def answer_history(self, read: ReadHistory) -> None:
        """Answer requests for the history of a channel, which `read` reads."""
        self._routes.read_history = read

    def show_certificates(self, renewal: Renewal) -> None:
        """Add the ends of the certificates of all ports to /metrics."""
        self.figures.registry.register(CertificateFigures(renewal.expiries))

    def join(self, cluster: Cluster) -> None:
        """Answer for all nodes of a cluster, and add its figures to /metrics."""
        # Imported here, since a node that is alone needs nothing of a cluster.
        from ..cluster.figures import ClusterFigures

        self._routes.join(cluster)
        self.figures.registry.register(ClusterFigures(cluster))

    def show_inbox(self, box: Callable[[], Box]) -> None:
        """Add an inbox to /metrics."""
        self.figures.registry.register(InboxFigures(box))

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `Reloadable`: read the tokens and the bound for messages to publish again.

        The listener keeps its address.
        """
        if not config.admin_token_file:
            for port in self.ports:
                self._refuse_exposed(port)
        access = Access.of(config, self._routes.access.guesses)

        def commit() -> list[str]:
            before, self._routes.access = self._routes.access, access
            self._routes.most = config.most_to_publish
            if self._routes.ticketing is not None:
                self._routes.ticketing.is_on = bool(config.auth)
            if before.tokens == access.tokens:
                return []
            several = any(
                each.tokens is not None and each.tokens.named for each in (before, access)
            )
            return ["the tokens of --admin" if several else "the token of --admin"]

        return commit

    def listen(self) -> None:
        """Start to listen. Idempotent. Raises `ConfigError` or `ListenError`."""
        if self.ports:
            return
        self.ports = listen([self.endpoint], self._factory)
        if not self._config.admin_token_file:
            _log.warn(
                "{option} asks for no token: anyone who can reach it, also through a gateway,"
                " may publish and close connections; give --admin-token-file",
                option=self.endpoint[0],
            )
            for port in self.ports:
                try:
                    self._refuse_exposed(port)
                except Exception:
                    self._stop_listening()
                    raise

    def start(self) -> None:
        """Start the measurements that run all the time."""

    def stop(self) -> Deferred[None]:
        """Stop listening and end the connections, after the answers that were given.

        Fires when that is done, after about a second at most.
        """
        return self._stop_listening().addCallback(lambda _: self._factory.end())

    async def _respond(self, asked: AdminRequest) -> Answer | Stream:
        self._warn_of_gateway(asked)
        wrong = self._routes.access.guesses.wrong
        reply = await self._routes.respond(asked)
        self._warn_of_guesses(asked, wrong)
        return reply

    def _room_for(self, asked: AdminRequest) -> int | Answer:
        self._warn_of_gateway(asked)
        return self._routes.room_for(asked)

    def _warn_of_gateway(self, asked: AdminRequest) -> None:
        mark = self._routes.access.refused_gateway(asked)
        if mark is not None and self._gateways.due():
            _log.warn(
                "{option} refused a request that came through a gateway ({mark}); a gateway may ask"
                " more than /healthz and /readyz only with --admin-token-file",
                option=self.endpoint[0],
                mark=mark,
            )

    def _warn_of_guesses(self, asked: AdminRequest, before: int) -> None:
        guesses = self._routes.access.guesses
        if guesses.wrong > before and self._guessers.due():
            _log.warn(
                "{option} refused a wrong token from {address}; {count} requests had one so far",
                option=self.endpoint[0],
                address=address_of(asked) or "a unix socket",
                count=guesses.wrong,
            )

    def _refuse_exposed(self, port: IListeningPort) -> None:
        if self._config.admin.startswith(PREFIX):
            raise behind_gateway(self.endpoint[0])
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
        hub: Hub,
        journal: Journal,
        checks: list[Check],
    ) -> None:
        self._lag = Lag(reactor)
        self._traces = Traces(reactor)
        source = _Source(config, factory, hub, journal, self)
        people = LocalPeople(source.connections, hub, self._traces)
        publishing = Publishing(hub.deliver, factory.gathering.together, reactor)
        super().__init__(config, reactor, people, Figures(source, reactor), publishing, checks)
        if hub.has_history:
            self.answer_history(hub.history)

    @property
    def lag(self) -> Histogram:
        """The histogram of the reactor's lag, in seconds."""
        return self._lag.seconds

    @property
    def traces(self) -> int:
        """The number of running traces."""
        return len(self._traces)

    def start(self) -> None:
        """Start to measure the lag of the reactor."""
        self._lag.start()

    def stop(self) -> Deferred[None]:
        """Stop measuring, end all traces, and stop the face."""
        self._lag.stop()
        self._traces.end()
        return super().stop()


class _Source:
    """The source of the figures of a service in one process."""

    def __init__(
        self, config: Config, factory: ServerFactory, hub: Hub, journal: Journal, admin: Admin
    ) -> None:
        self._config = config
        self._factory = factory
        self._hub = hub
        self._journal = journal
        self._admin = admin
        self.sizes = hub.sizes

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
            **self._factory.memory_gauges(),
            "rate_waiting": self._factory.rates.waiting,
        }

    def counters(self) -> Mapping[str, float]:
        factory = self._factory
        return {
            "slow_closed": factory.slow_closed,
            "slow_dropped": factory.slow_dropped,
            "slow_messages": factory.slow_messages,
            "log_dropped": self._journal.dropped,
            **factory.memory_counters(),
            **factory.rates.counts,
        }
