"""The service of the parent: it holds the ports, and has workers serve."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import Logger

from .. import frames
from ..broker import open_engine, open_hub
from ..config import Config
from ..destination import Destination
from ..errors import ConfigError, ListenError, WSServiceError
from ..history import history_of
from ..journal import open_destination
from ..listening import Renewal, endpoints, listen
from ..notify import ServiceManager
from ..policy import ConnectionLimits
from ..reloading import Part
from . import copying, passing
from .handed import Place
from .keeping import Keeping
from .process import Owner, Program, Worker
from .sharing import Sharing
from .supervisor import MARGIN, Published, Supervisor

if TYPE_CHECKING:
    from ..admin import Check
    from ..broker.hub import BrokerHub
    from ..cluster import Cluster
    from .overall import OverallAdmin

LOG, FILE, RECORDS = "log", "file", "records"
"""Where a worker writes the lines of the message log: with its log, to the file by itself, or
to its parent, which alone writes to a pipe or a terminal."""

_AT_ONCE = 1.0
"""Seconds that workers have to write what they hold, where the service ends at once."""

_log = Logger(namespace="wsservice")


class ServerFactory(Factory):
    """What the ports of the parent are made for. It makes nothing: connections are handed on."""

    noisy = False


class ParentService(Service):
    """A WebSocket server in `count` worker processes, as a Twisted service.

    `give_up` is called with what is wrong where no worker can be started; `manager` is
    told how it goes, and that it is ready once all workers serve. Raises
    `ConfigError` or `JournalError` when made, `ListenError` from `listen`, which
    runs when the service starts if it was not called before.
    """

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
        # Whatever a process may change later, paths are those of its beginning.
        self._folder = os.getcwd()
        self._messages, self._way = _messages(config, reactor)
        self.ports: list[IListeningPort] | None = None
        later = any(each.startswith("haproxy:") for each in config.listen)
        self._peers_come_later = later
        self.limits = ConnectionLimits(
            config.max_connections, 0 if later else config.max_connections_per_ip
        )
        # Where nodes meet, it is kept there.
        history = None if config.broker else history_of(config)
        self.supervisor = Supervisor(
            count,
            self._make,
            reactor,
            give_up,
            self._all_ready,
            config.drain,
            None if history is None else Keeping(history, reactor.seconds),
        )
        self.sharing = Sharing(self.limits, self.supervisor.ready_workers, later)
        self.supervisor.sharing = self.sharing
        self._stopping = False
        #: What /readyz asks. Whatever else the service cannot do without has its place here.
        self.checks: list[Check] = [self._not_running, self._no_worker, self._no_room]
        #: Where the nodes meet, None where there is one alone. Each worker has one too.
        self.engine = open_engine(config, reactor)
        #: By which this process publishes. It has no connections.
        self.meeting: BrokerHub | None = None
        if self.engine is not None:
            self.checks.append(self.engine.check)
            self.meeting = open_hub(config, self.engine, reactor)
            self.checks.append(self.meeting.check)
        self.admin = self._open_admin()
        #: The nodes that meet there, None where there is one alone.
        self.cluster = self._open_cluster()
        with_tls = [*self._named, *([self.admin.endpoint] if self.admin else [])]
        #: What may be given other settings while it runs, in this order. Certificates are
        #: the workers', but read here too, for what there is to say of them.
        self.parts: list[Part] = [Renewal(with_tls, reactor), self]
        if self.admin is not None:
            self.parts.append(self.admin)
        if self.engine is not None and self.meeting is not None:
            self.parts += [self.engine, self.meeting]

    def _open_admin(self) -> OverallAdmin | None:
        if not self.config.admin:
            return None
        # What it needs, twisted.web among it, nobody else does.
        from .overall import OverallAdmin

        return OverallAdmin(self.config, self._reactor, self.supervisor, self.checks, self.meeting)

    def _open_cluster(self) -> Cluster | None:
        if self.engine is None:
            return None
        # What it needs, most of the admin face among it, nobody else does.
        from ..cluster import open_cluster, reasons_of
        from .home import OverallHome
        from .overall import OverallPeople

        people = OverallPeople(self.supervisor) if self.admin is None else self.admin.people
        home = OverallHome(self.supervisor, people, reasons_of(self.checks))
        return open_cluster(self.config, self._reactor, self.engine, home, self.admin)

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
        ports = listen(self._named, ServerFactory())
        for (option, _), port in zip(self._named, ports, strict=True):
            if not isinstance(port, Port):
                for each in ports:
                    each.stopListening()
                raise ListenError(f"{option}: cannot be shared by workers; give --workers 1")
        self.ports = ports
        self.sharing.serve(ports)
        if self.admin is not None:
            self._listen_for_admin(self.admin)

    def _listen_for_admin(self, admin: OverallAdmin) -> None:
        try:
            admin.listen()
        except WSServiceError:
            for port in self.ports or ():
                port.stopListening()
            self.ports = None
            raise

    def privilegedStartService(self) -> None:
        self.listen()
        super().privilegedStartService()

    def startService(self) -> None:
        self.listen()
        _log.info("messages are read by the {codec} codec", codec=frames.CODEC)
        # Only then the reactor learns of processes that end.
        self._reactor.callWhenRunning(self._start)
        super().startService()

    def _start(self) -> None:
        if self.running:
            if self.engine is not None:
                self.engine.start()
            self.supervisor.start()
            if self.cluster is not None:
                self.cluster.start()

    def _make(self, number: int, owner: Owner) -> Worker:
        form = copying.form()
        ports: list[Any] = self.ports or []
        start = {
            "config": attrs.asdict(self.config),
            "folder": self._folder,
            "folder_now": os.getcwd(),
            "path": sys.path,
            "places": [attrs.astuple(Place.of(port.socket)) for port in ports],
            "log": form,
            "messages": self._way,
            "service": "" if self.engine is None else self.engine.service,
        }
        program = Program(
            start,
            len(ports),
            copying.copy_to(form),
            (lambda _: None) if self._messages is None else self._messages.write,
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

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`: limits, how long to drain, and all that is the workers'."""

        def commit() -> None:
            self.config = config
            self.limits.change(
                config.max_connections,
                0 if self._peers_come_later else config.max_connections_per_ip,
            )
            self.supervisor.drain = config.drain
            for worker in self.supervisor.all():
                worker.bus.say("commit", config=attrs.asdict(config))

        return commit

    def ask(self, config: Config) -> Deferred[str]:
        """What is wrong with a configuration by any of the workers; "" if nothing is."""
        workers = self.supervisor.ready_workers()
        asked = self.supervisor.ask(workers, "prepare", config=attrs.asdict(config))
        return asked.addCallback(lambda answers: next(filter(None, answers), ""))

    # What an operator asks for

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message to every open connection on a channel, in every worker.

        Fires with to how many it was handed, within a second.
        """
        if self.meeting is not None:
            # Workers are nodes, as others are.
            told = self.meeting.deliver(channel, payload, isBinary)
            return told.addCallback(lambda told: Published(0, 0, told.nodes or 0))
        return self.supervisor.publish(channel, payload, isBinary)

    def reopen(self) -> None:
        """Begin the message log anew at the same path, after the file was moved away."""
        if self._messages is not None:
            self._messages.reopen()
        for worker in self.supervisor.all():
            worker.bus.say("reopen")

    def roll(self) -> None:
        """Replace all workers, one after another."""
        self.supervisor.roll()

    def finish(self) -> None:
        """End all workers at once, but for what they have to log. This process then ends itself."""
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
        if self._messages is not None:
            self._messages.close()

    # The end

    def stopService(self) -> Deferred[None]:
        """Take no more connections, have the workers close those there are, and end.

        Fires when all have ended, which takes `Config.drain` and a few seconds at most. The
        admin face is the last to go, so that it can be asked meanwhile.
        """
        self._stopping = True
        super().stopService()
        self.manager.stopping(self.config.drain + 2 * MARGIN)
        stopped = DeferredList([maybeDeferred(port.stopListening) for port in self.ports or ()])
        self.ports = None
        self.sharing.close()

        def end(_: object) -> Deferred[None] | None:
            if self._messages is not None:
                self._messages.close()
            self.manager.stopped()
            return None if self.admin is None else self.admin.stop()

        stopped.addCallback(lambda _: self.supervisor.stop())
        return stopped.addCallback(lambda _: self._stop_engine()).addCallback(end)

    def _stop_engine(self) -> Deferred[None] | None:
        if self.meeting is not None:
            self.meeting.close()
        engine, cluster = self.engine, self.cluster
        if engine is None or cluster is None:
            return None
        return cluster.stop().addCallback(lambda _: engine.stop())


def _messages(config: Config, reactor: Any) -> tuple[Destination | None, str]:
    """Where the parent writes the lines of messages, if it does, and the way that they take.

    Raises `JournalError`.
    """
    if config.message_log == "log":
        return None, LOG
    # They have their time when they come from a worker.
    destination = open_destination(config, reactor, lambda _: b"")
    if config.message_log != "-" and _is_file(os.path.abspath(config.message_log)):
        destination.close()
        return None, FILE
    return destination, RECORDS


def _is_file(path: str) -> bool:
    """Whether processes can write whole lines to it beside each other."""
    # What these have depends on the process that opens them.
    return not path.startswith(("/dev/", "/proc/")) and stat.S_ISREG(os.stat(path).st_mode)
