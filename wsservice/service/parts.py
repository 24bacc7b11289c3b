"""The parts of a service. A part registers the calls that it needs, in lists.

A service then runs lists, and does not ask which parts it has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from ..auth.identification import Identification
from ..broker import open_engine, open_hub
from ..channels.contract import Hub
from ..channels.history import history_of
from ..channels.hub import LocalHub
from ..clock import monotonic_of, wall_of
from ..config.config import Config
from ..log.journal import Journal, open_journal
from ..net.descriptors import lowest_free
from ..net.listening import listen
from ..net.polling import poll_together
from ..net.tls import quicken
from ..server.admission import ConnectionLimits
from ..server.behaviours import ServerFactory, ServerProtocol
from .behaviour import find_protocol
from .drain import Drain, DrainListener
from .reloading import Reloadable

if TYPE_CHECKING:
    from ..admin import Face
    from ..broker.engine import Engine
    from ..broker.hub import BrokerHub
    from ..broker.inbox import Inbox
    from ..cluster import Cluster
    from ..directory.readiness import Check
    from ..webhook import Webhook

Stop = Callable[[], Deferred[Any] | None]

_log = Logger(namespace="wsservice")


@attrs.frozen
class Hooks:
    """The calls that a service owes to one of its parts. One that is absent has none."""

    wraps: list[Callable[[type[ServerProtocol]], type[ServerProtocol]]] = attrs.field(factory=list)
    """Each returns the behaviour with the part's own work added."""
    endpoints: list[tuple[str, IStreamServerEndpoint]] = attrs.field(factory=list)
    """The endpoints besides those of clients, whose certificates are read again."""
    checks: list[Check] = attrs.field(factory=list)
    """Checks of /readyz."""
    reloads: list[Reloadable] = attrs.field(factory=list)
    shows: list[Callable[[Face], None]] = attrs.field(factory=list)
    """Each adds figures to an admin face."""
    listens: list[Callable[[], None]] = attrs.field(factory=list)
    starts: list[Callable[[], None]] = attrs.field(factory=list)
    flushes: list[Callable[[float], Deferred[None]]] = attrs.field(factory=list)
    """Each sends what waits, for so many seconds at most."""
    closes: list[Stop] = attrs.field(factory=list)
    """Each is called before any of `stops` of another part."""
    stops: list[Stop] = attrs.field(factory=list)


def hooks_of_broker(engine: Engine, meeting: BrokerHub) -> Hooks:
    """Return the calls for the Redis servers, and for the hub that meets other nodes there."""
    return Hooks(
        checks=[engine.check, meeting.check],
        reloads=[engine, meeting],
        shows=[lambda face: face.show_broker(engine, meeting)],
        starts=[engine.start],
        closes=[meeting.close],
        stops=[engine.stop],
    )


def hooks_of_face(face: Face) -> Hooks:
    """Return the calls for an admin face."""
    return Hooks(
        endpoints=[face.endpoint],
        reloads=[face],
        listens=[face.listen],
        starts=[face.start],
        stops=[face.stop],
    )


def hooks_of_cluster(cluster: Cluster) -> Hooks:
    """Return the calls for the nodes of a service."""
    return Hooks(starts=[cluster.start], stops=[cluster.stop])


class ConnectionParts:
    """The parts that serve the connections of one process, in a service of one or in a worker.

    `hub` is the hub without a broker, None for one that knows this process alone. `service` is the
    id that the workers of a service share. `ids` and `limits` are those of `ServerFactory`. Raises
    `ConfigError` or `JournalError`.
    """

    #: The hub as one that other nodes share, None without a broker.
    meeting: BrokerHub | None = None
    #: The sender of events, None without one.
    webhook: Webhook | None = None
    #: The inbox to which client messages are appended, None without one.
    inbox: Inbox | None = None

    def __init__(
        self,
        config: Config,
        reactor: Any,
        hub: Hub | None = None,
        open_journal: Callable[[Config, Any], Journal] = open_journal,
        service: str = "",
        ids: Iterator[str] | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self._reactor = reactor
        #: The Redis servers that the nodes share, None without a broker.
        self.engine = open_engine(config, reactor, service)
        telling = self._open_webhook(config)
        receiving = self._open_inbox(config)
        protocol = find_protocol(config.protocol)
        for wrap in (*telling.wraps, *receiving.wraps):
            protocol = wrap(protocol)
        self.journal = open_journal(config, reactor)
        self.hub, meeting = self._open_hub(config, hub)
        self.factory = ServerFactory(
            config, protocol, self.journal, self.hub, reactor, ids=ids, limits=limits
        )
        identifying = self._open_identification(config)
        if self.meeting is not None:
            self.meeting.gathering = self.factory.gathering
        history = self.hub.history
        shown = [] if history is None else [lambda face: face.show_history(history)]
        #: The calls of all parts, in the order in which they are made.
        self.hooks = Hooks(
            checks=[self.no_room, *meeting.checks, *receiving.checks],
            reloads=[
                *telling.reloads,
                *meeting.reloads,
                *receiving.reloads,
                *identifying.reloads,
            ],
            shows=[*telling.shows, *meeting.shows, *shown, *receiving.shows],
            starts=[*telling.starts, *meeting.starts, *identifying.starts],
            flushes=[*telling.flushes, *receiving.flushes],
            closes=meeting.closes,
            stops=[*identifying.stops, *meeting.stops],
        )

    def _open_identification(self, config: Config) -> Hooks:
        #: Finds the users of clients. The factory has it while `--auth` is given.
        self.identification = found = Identification(config, self._reactor)

        def put() -> None:
            self.factory.identification = found if found.is_on else None

        found.changed = put
        put()
        return Hooks(reloads=[found], starts=[found.start], stops=[found.stop])

    def _open_webhook(self, config: Config) -> Hooks:
        if not config.webhook:
            return Hooks()
        # Imported here, since most services need no HTTP client, and loading one is slow.
        from ..webhook import open_webhook, telling

        node = "" if self.engine is None else self.engine.service
        self.webhook = webhook = open_webhook(config, self._reactor, node)
        return Hooks(
            wraps=[lambda protocol: telling(protocol, webhook)],
            reloads=[webhook],
            shows=[lambda face: face.show_webhook(webhook)],
            starts=[webhook.start],
            flushes=[webhook.stop],
        )

    def _open_inbox(self, config: Config) -> Hooks:
        if self.engine is None or not config.inbox:
            return Hooks()
        # Imported here, since most services have no inbox.
        from ..broker.inbox import Inbox
        from ..broker.receiving import receiving

        self.inbox = inbox = Inbox(config, self.engine, self._reactor)
        return Hooks(
            wraps=[lambda protocol: receiving(protocol, inbox)],
            checks=[inbox.check],
            reloads=[inbox],
            shows=[lambda face: face.show_inbox(lambda: inbox)],
            flushes=[inbox.stop],
        )

    def _open_hub(self, config: Config, hub: Hub | None) -> tuple[Hub, Hooks]:
        reactor = self._reactor
        if self.engine is not None:
            self.meeting = open_hub(config, self.engine, reactor)
            return self.meeting, hooks_of_broker(self.engine, self.meeting)
        if hub is not None:
            return hub, Hooks()
        monotonic, wall = monotonic_of(reactor), wall_of(reactor)
        return LocalHub(monotonic, history=history_of(config), wall=wall), Hooks()

    def no_room(self) -> str | None:
        """Return why no more connections can be served, None if they can."""
        limits = self.factory.limits
        if limits.full:
            return "no room for more connections"
        if lowest_free() >= limits.first_reserved:
            return "no descriptors for more connections"
        return None

    def listen(self, named: list[tuple[str, IStreamServerEndpoint]]) -> list[IListeningPort]:
        """Return the ports of these endpoints. Raises `ListenError`."""
        ports = listen(named, self.factory)
        for port in ports:
            quicken(port, self.factory.gathering)
        poll_together(ports, self.factory.turns)
        return ports

    def drain(
        self,
        ports: list[IListeningPort],
        kept: list[IListeningPort],
        told: Iterable[DrainListener],
        seconds: float,
        leave: Iterable[Stop] = (),
    ) -> Deferred[None]:
        """Stop listening, close the connections in `told`, and stop all parts.

        The ports in `kept` stay open until the connections are closed. `leave` are the calls to
        leave the other nodes, before the connection to Redis ends. Fire when all of this is done.
        """
        self.factory.is_stopping = bool(kept)
        stopped = _stop_all([port for port in ports if port not in kept])
        drain = Drain(self.hub, told, self._reactor, seconds, self.hooks.flushes)
        steps: list[Stop] = [drain.wait, lambda: _stop_all(kept), drain.flush]
        steps += [*self.hooks.closes, *leave, *self.hooks.stops]
        return stopped.addCallback(
            lambda _: one_after_another([*steps, drain.end, self.journal.close])
        )


def one_after_another(calls: Iterable[Stop]) -> Deferred[None]:
    """Make these calls, each after the Deferred of the one before it has fired."""
    done: Deferred[Any] = succeed(None)
    for each in calls:
        done.addCallback(lambda _, call: call(), each)
    return done.addCallback(lambda _: None)


@contextlib.contextmanager
def given_back(ports: Iterable[IListeningPort]) -> Iterator[None]:
    """Stop listening on ports if the service cannot go on from here."""
    try:
        yield
    except BaseException:
        for port in ports:
            port.stopListening()
        raise


def _stop_all(ports: list[IListeningPort]) -> Deferred[Any]:
    return DeferredList([_stop_listening(port) for port in ports])


def _stop_listening(port: IListeningPort) -> Deferred[None]:
    stopped: Deferred[None] = Deferred()
    result = port.stopListening()
    (result or stopped).addErrback(lambda failure: _log.failure("cannot stop listening", failure))
    if result is None:
        stopped.callback(None)
    return result or stopped
