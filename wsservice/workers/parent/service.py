"""The service of the parent: it holds the ports, and has workers serve."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import Logger

from ...broker import open_engine, open_hub
from ...channels.history import history_of
from ...channels.message import new_message
from ...channels.outcome import Published
from ...clock import monotonic_of, wall_of
from ...config.config import Config
from ...config.rates import ADDRESS
from ...errors import ConfigError, ListenError
from ...http.forwarded import TrustedProxies
from ...net.descriptors import in_use, keep_from_programs, limit_for
from ...net.listening import Renewal, endpoints, listen
from ...net.notify import ServiceManager
from ...net.proxied import PREFIX
from ...protocol import frames
from ...server.admission import ConnectionLimits
from ...server.rates.limited import Limited
from ...service.drain import kept_open
from ...service.parts import (
    Hooks,
    given_back,
    hooks_of_broker,
    hooks_of_cluster,
    hooks_of_face,
    one_after_another,
    tickets_of,
)
from ...service.reloading import Reloadable
from ..child.ports import PortPlace
from ..child.sketch import LONGEST_KEY
from ..wire import passing
from ..wire.messages import MARGIN
from ..wire.orders import CommitConfig, PrepareConfig, ReopenLog, Start
from . import log as copying
from .destination import message_log_of
from .history import Keeping
from .presence import PresenceAnswers
from .process import Worker, WorkerOwner
from .program import Program, files_for
from .requests import Unanswered
from .sharing import Sharing
from .supervisor import Supervisor
from .tickets import TicketAnswers

if TYPE_CHECKING:
    from ...broker.hub import BrokerHub
    from ...cluster import Cluster
    from ...directory.readiness import Check
    from .admin import OverallAdmin

_AT_ONCE = 1.0
"""Seconds to wait for workers to write the lines they hold when the service ends at once."""

_SPARE_FILES = 20
"""The number of open files besides those of workers: logs, a worker that is being started, accepted
connections that are not handed over yet, and connections of the admin face."""

_FILES_OF_BROKER = 4
"""The number of open files for each server of `--broker`."""

_LONGEST_LOOK = 5.0
"""Seconds to wait for a worker to check other settings. It reads certificates for that."""

_log = Logger(namespace="wsservice")


class PortFactory(Factory):
    """The factory of the parent's ports. It makes no protocols: connections go to workers."""

    noisy = False

    def logPrefix(self) -> str:
        """Name the factory in the log as a service of one process does."""
        # Without it Twisted takes the class's name. Log filters match "ServerFactory starting on".
        return "ServerFactory"


class ParentService(Service):
    """A WebSocket server in `count` worker processes, as a Twisted service.

    It calls `give_up` with the problem if no worker can be started. It reports its state to
    `manager`, and is ready once all workers serve. The constructor raises `ConfigError` or
    `JournalError`. `listen` raises `ListenError`; it runs when the service starts, unless it was
    called before.
    """

    #: The hub by which this process publishes, None without a broker. It has no connections.
    meeting: BrokerHub | None = None
    #: The admin face, None without one.
    admin: OverallAdmin | None = None
    #: The nodes of the service, None without a broker.
    cluster: Cluster | None = None

    def __init__(
        self,
        config: Config,
        reactor: Any,
        count: int,
        give_up: Callable[[str], None],
        manager: ServiceManager | None = None,
    ) -> None:
        if not passing.possible():
            raise ConfigError(
                f"--workers: {count} is not allowed: this system cannot hand connections from"
                " one process to another; give 1"
            )
        self.config = config
        self.manager = manager or ServiceManager(reactor)
        self._reactor = reactor
        self._named: list[tuple[str, IStreamServerEndpoint]] = endpoints(config, reactor)
        # Taken now, since a process may change its folder later, and paths begin here.
        self._folder = os.getcwd()
        self._messages, self._way = message_log_of(config, reactor)
        self.ports: list[IListeningPort] | None = None
        later = any(each.startswith(PREFIX) for each in config.listen)
        self._peers_come_later = later
        self._limited = Limited(monotonic_of(reactor))
        self.limits = ConnectionLimits(0, seconds=monotonic_of(reactor), notes=self._limited)
        self._limit(config)
        # With a broker, Redis keeps the history.
        history = None if config.broker else history_of(config)
        self.supervisor = Supervisor(
            count,
            self._make,
            reactor,
            give_up,
            self._all_ready,
            config.drain,
            None if history is None else Keeping(history, monotonic_of(reactor), wall_of(reactor)),
        )
        trusted = TrustedProxies.of(config.trust_proxy)
        self.sharing = Sharing(self.limits, self.supervisor.ready_workers, later, trusted)
        self.supervisor.sharing = self.sharing
        self.supervisor.seats.change(config.max_connections_per_user, config.user_limit_closes)
        self._stopping = False
        # The secret for the sketches of channels that workers send.
        self._key = secrets.token_hex(LONGEST_KEY)
        #: The checks of /readyz. Add every other dependency of the service here.
        self.checks: list[Check] = [self._not_running, self._no_worker, self._no_room]
        #: The Redis servers that the nodes share, None without a broker. Each worker has its own.
        self.engine = open_engine(config, reactor)
        self._broker = self._open_broker()
        self.checks += self._broker.checks
        self._face = self._open_admin()
        self._nodes = self._open_cluster()
        self._renewal = Renewal([*self._named, *self._face.endpoints], reactor)
        if self.admin is not None:
            self.admin.show_certificates(self._renewal)
        #: The parts that a reload changes, in this order. Workers use the certificates, but the
        #: parent reads them too, to report on them.
        self.parts: list[Reloadable] = [
            self._renewal,
            self,
            *self._face.reloads,
            *self._broker.reloads,
            *([] if history is None else [history.keeping]),
        ]

    def _open_broker(self) -> Hooks:
        if self.engine is None:
            return Hooks()
        self.meeting = open_hub(self.config, self.engine, self._reactor)
        return hooks_of_broker(self.engine, self.meeting)

    def _open_admin(self) -> Hooks:
        if not self.config.admin:
            return Hooks()
        # Imported here, since only the admin face needs twisted.web.
        from .admin import OverallAdmin

        self.admin = OverallAdmin(
            self.config,
            self._reactor,
            self.supervisor,
            self.checks,
            self.meeting,
            self._limited.counts,
        )
        tickets = tickets_of(self.config, self.engine, self._reactor)
        if tickets is not None:
            self.admin.take_tickets(tickets)
            self.supervisor.tickets = TicketAnswers(tickets)
        return hooks_of_face(self.admin)

    def _open_cluster(self) -> Hooks:
        if self.engine is None:
            return Hooks()
        # Imported here, since only a node among others needs it.
        from ...cluster import open_cluster
        from ...directory.readiness import reasons_of
        from .home import OverallHome
        from .people import OverallPeople

        people = OverallPeople(self.supervisor) if self.admin is None else self.admin.people
        home = OverallHome(self.supervisor, people, reasons_of(self.checks))
        self.cluster = open_cluster(self.config, self._reactor, self.engine, home)
        if self.admin is not None:
            self.admin.join(self.cluster)
        self.supervisor.presence = PresenceAnswers(self.cluster.presence.ask)
        return hooks_of_cluster(self.cluster)

    def _not_running(self) -> str | None:
        if self._stopping:
            return "draining"
        return None if self.running else "starting"

    def _no_worker(self) -> str | None:
        return None if self.supervisor.ready_workers() else "no worker serves"

    def _no_room(self) -> str | None:
        return "no room for more connections" if self.limits.full else None

    # Start

    def listen(self) -> None:
        """Take the ports. Connections are served once the workers run."""
        if self.ports is not None:
            return
        ports = listen(self._named, PortFactory())
        with given_back(ports):
            for (option, _), port in zip(self._named, ports, strict=True):
                if not isinstance(port, Port):
                    raise ListenError(f"{option}: cannot be shared by workers; give --workers 1")
            self._check_files(len(ports))
            self.sharing.serve(ports)
            for each in self._face.listens:
                each()
        self.ports = ports

    def _check_files(self, ports: int) -> None:
        """Check that the limit on open files suffices for the workers. Raises `ListenError`."""
        keep_from_programs()
        count = len(self.supervisor.slots)
        # A replacement runs one more worker, and there are other files.
        spare = _SPARE_FILES + _FILES_OF_BROKER * len(self.config.broker)
        need = in_use() + (count + 1) * files_for(ports) + spare
        limit = limit_for(self._reactor)
        if need > limit:
            raise ListenError(
                f"--workers: {count} need {need} open files in their parent, and the limit is"
                f" {limit}; raise it (ulimit -n, LimitNOFILE=), or give fewer workers"
            )

    def privilegedStartService(self) -> None:
        self.listen()
        super().privilegedStartService()

    def startService(self) -> None:
        self.listen()
        _log.info("messages are read by the {codec} codec", codec=frames.CODEC)
        self._renewal.warn()
        # Wait until the reactor runs: only then does it notice the end of processes.
        self._reactor.callWhenRunning(self._start)
        super().startService()

    def _start(self) -> None:
        if self.running:
            starts = [*self._broker.starts, self.supervisor.start, *self._nodes.starts]
            for start in starts:
                start()

    def _make(self, number: int, owner: WorkerOwner) -> Worker:
        form = copying.form()
        ports: list[Any] = self.ports or []
        places = [PortPlace.of(port.socket) for port in ports]
        start = Start(
            config=attrs.asdict(self.config),
            folder=self._folder,
            folder_now=os.getcwd(),
            path=tuple(sys.path),
            places=tuple((each.family, each.name) for each in places),
            log=form,
            messages=self._way,
            service="" if self.engine is None else self.engine.service,
            key=self._key,
        )
        program = Program(
            start,
            len(ports),
            copying.copy_to(form),
            self._messages.write,
            self._reactor,
        )
        return Worker(number, program, owner)

    def _all_ready(self) -> None:
        room = sum(worker.room for worker in self.supervisor.ready_workers())
        most = self.config.max_connections
        count = len(self.supervisor.slots)
        if room < most:
            _log.warn(
                "--max-connections {most} does not fit: the open files of {count} workers leave"
                " room for {room}; more are refused with 503, until the hard limit is raised"
                " (ulimit -n, LimitNOFILE=)",
                most=most,
                count=count,
                room=room,
            )
        _log.info(
            "up to {room} connections, in {count} workers",
            room=min(room, most) if most else room,
            count=count,
        )
        self.manager.ready(self._state)

    def _state(self) -> str:
        serving = self.supervisor.serving()
        return f"connections: {sum(worker.load for worker in serving)}, workers: {len(serving)}"

    # Other settings

    def _limit(self, config: Config) -> None:
        """Set the limits of connections. Behind a balancer, workers have those by address."""
        later = self._peers_come_later
        self.limits.change(config.max_connections, 0 if later else config.max_connections_per_ip)
        rate = None if later else config.connect_rates.get(ADDRESS)
        self.limits.pace(rate, config.limits_dry_run)

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies limits, the time to drain and the workers' settings."""
        trusted = TrustedProxies.of(config.trust_proxy)

        def commit() -> None:
            self.config = config
            self.sharing.trusted = trusted
            self._limit(config)
            self.supervisor.seats.change(config.max_connections_per_user, config.user_limit_closes)
            self.supervisor.drain = config.drain
            for worker in self.supervisor.all():
                worker.bus.say(CommitConfig(attrs.asdict(config)))

        return commit

    def ask(self, config: Config) -> Deferred[str]:
        """Fire with the problem that a worker has with a configuration, "" if none has one.

        A worker that does not answer counts as a problem: it might keep its old settings.
        """
        workers = self.supervisor.ready_workers()
        question = PrepareConfig(attrs.asdict(config))
        asked = self.supervisor.ask(workers, question, _LONGEST_LOOK)
        return asked.addCallback(partial(_objection, workers))

    # Requests of operators

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message to every open connection on a channel, in every worker.

        Fire within a second with the outcome; with `--broker` it counts processes, as `nodes`, and
        no connections. Raises `TypeError` for a payload that is not bytes, `ValueError` for a
        channel's name of more than 255 octets.
        """
        # With a broker each worker reads from it, as nodes do.
        hub = self.supervisor if self.meeting is None else self.meeting
        return hub.deliver(new_message(channel, payload, isBinary))

    def reopen(self) -> None:
        """Open the message log again at the same path, after the file was moved away."""
        self._messages.reopen()
        for worker in self.supervisor.all():
            worker.bus.say(ReopenLog())

    def roll(self) -> None:
        """Replace all workers, one after another."""
        self.supervisor.roll()

    def finish(self) -> None:
        """End all workers as soon as their logs are written. This process then ends itself."""
        workers = self.supervisor.all()
        for worker in workers:
            worker.finish()
        deadline = time.monotonic() + _AT_ONCE
        while time.monotonic() < deadline:
            over = [worker.finish_logs() for worker in workers]
            if all(over):
                break
            time.sleep(0.01)
        self.supervisor.kill()
        self._messages.close()

    # The end

    def stopService(self) -> Deferred[None]:
        """Stop listening, have the workers close all connections, and end.

        Fire when all workers have ended, after `Config.drain` and a few seconds at most. The
        admin face closes last, so that it answers during the drain. With `Config.health_path` the
        ports stay open meanwhile: workers still get new connections, and answer health checks
        with 503.
        """
        self._stopping = True
        super().stopService()
        self.manager.stopping(self.config.drain + 2 * MARGIN)
        ports, self.ports = self.ports or [], None
        kept = kept_open(self.config, self._named, ports)
        stopped = _stop_all([port for port in ports if port not in kept])
        if not kept:
            self.sharing.close()

        steps = [
            self.supervisor.stop,
            self.sharing.close,
            lambda: _stop_all(kept),
            *self._broker.closes,
            *self._nodes.stops,
            *self._broker.stops,
            self._messages.close,
            self.manager.stopped,
            *self._face.stops,
        ]
        return stopped.addCallback(lambda _: one_after_another(steps))


def _objection(workers: Sequence[Worker], answers: Sequence[Any]) -> str:
    """Return the first problem in the answers of workers, "" if there is none."""
    for worker, answer in zip(workers, answers, strict=True):
        if answer is Unanswered.GONE:
            continue  # the worker in its place starts with the configuration then in effect
        if isinstance(answer, Unanswered):
            return f"{worker} did not answer within {_LONGEST_LOOK:g} s"
        if answer:
            return str(answer)
    return ""


def _stop_all(ports: list[IListeningPort]) -> Deferred[Any]:
    return DeferredList([maybeDeferred(port.stopListening) for port in ports])
