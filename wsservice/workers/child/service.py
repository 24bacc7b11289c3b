"""A worker's service, which follows its parent's orders."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ...auth.tickets import TicketClaims
from ...channels.keeping import Keeps
from ...channels.presence import PresenceQuestions
from ...config.config import Config
from ...errors import WSServiceError
from ...log.journal import Journal, journal_to, open_journal
from ...log.lines import FORMATS
from ...log.threshold import Threshold
from ...net.descriptors import Shares, in_use, limit_for
from ...net.listening import Renewal, endpoints
from ...net.memory import for_messages
from ...service.drain import DrainListener, kept_open
from ...service.parts import ConnectionParts
from ...service.reloading import Commit, Reloadable, within
from ..cpus import processes
from ..wire.bus import Bus
from ..wire.coding import BusMessage, BusQuestion, handler, unknown
from ..wire.framing import MessageError, WrongFieldError
from ..wire.messages import (
    MARGIN,
    QUESTIONS_AT_ONCE,
    DeliveredCounts,
    MissedPage,
    Publication,
)
from ..wire.orders import (
    CommitConfig,
    DeliveryLost,
    DrainWorker,
    MakeWay,
    PingWorker,
    PrepareConfig,
    PresenceTold,
    ReopenLog,
    SeatGiven,
    TellPresence,
    TicketTold,
    from_parent,
)
from ..wire.records import RECORDS, RecordDestination
from ..wire.reports import Leaving, NoReply, Pong, Ready
from .hub import WorkerHub
from .kept import KeptHub
from .patience import Patient
from .ports import HandedLimits, HandedReactor, PortPlace, Roster
from .presence import ParentQuestions
from .seats import SharedSeats
from .tickets import ParentTickets

if TYPE_CHECKING:
    from .report import Shown

_ANY = "tcp:0"
"""An endpoint in the place of a systemd one. The parent listens; a worker needs its endpoints only
for their wrappers, such as TLS."""

_SYSTEMD = re.compile(r"(?<![^:])systemd:.*")

_log = Logger(namespace="wsservice")


@attrs.frozen
class Ends:
    """A worker's ends of the sockets that it shares with its parent."""

    messages: socket.socket
    ports: Sequence[tuple[socket.socket, PortPlace]]


def journal_for(way: str, end: socket.socket) -> Callable[[Config, Any], Journal]:
    """Return the function that opens a worker's message log. The parent has chosen the `way`."""

    def opened(config: Config, reactor: Any) -> Journal:
        if way != RECORDS:
            return open_journal(config, reactor)
        stamp = FORMATS[config.message_log_format]().stamp
        return journal_to(RecordDestination(end, reactor, stamp), config, reactor)

    return opened


def handed(config: Config) -> Config:
    """Return the configuration for a worker of a service."""
    listen = tuple(_SYSTEMD.sub(_ANY, each) for each in config.listen)
    memory = for_messages(config.memory_for_messages, processes(config.workers))
    return attrs.evolve(
        config, listen=listen, admin="", admin_token_file="", memory_for_messages=memory
    )


class WorkerService(Service):
    """The service of one worker. Raises as `ConnectionParts` does.

    `hub` is the hub without a broker. `of` is the id that the workers of the service share.
    `tickets` are those that the parent keeps.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        hub: WorkerHub | KeptHub | None,
        bus: Bus,
        ends: Ends,
        way: str,
        of: str = "",
        tickets: TicketClaims | None = None,
    ) -> None:
        self.config = handed(config)
        self._reactor = reactor
        self._bus = bus
        self._stopping = self._replaced = False
        self.seats = SharedSeats(bus, reactor)
        roster = Roster(bus, reactor)
        self._endpoints = endpoints(self.config, HandedReactor(reactor, ends.ports, roster))
        self.core = ConnectionParts(
            self.config,
            reactor,
            hub=hub,
            open_journal=journal_for(way, ends.messages),
            service=of,
            ids=roster,
            limits=HandedLimits(roster, config.max_connections_per_ip),
            seats=self.seats,
            tickets=tickets,
        )
        self.hub, self.factory, self.journal = self.core.hub, self.core.factory, self.core.journal
        self.ports: list[IListeningPort] | None = None
        checks = [self._not_running, *self.core.hooks.checks]
        self.factory.is_ready = lambda: all(check() is None for check in checks)
        #: The parts that a reload changes, in this order.
        self.parts: list[Reloadable] = [
            Renewal(self._endpoints, reactor, warns=False),  # its parent does
            self.factory,
            self.journal,
            self,
            *self.core.hooks.reloads,
        ]

    def listen(self) -> None:
        """Take the connections that the parent hands over, once the reactor runs."""
        if self.ports is None:
            self.ports = self.core.listen(self._endpoints)

    def startService(self) -> None:
        self.listen()
        for start in self.core.hooks.starts:
            start()
        super().startService()
        self._reactor.callWhenRunning(self._fit)

    def _fit(self) -> None:
        shares = Shares.of(limit_for(self._reactor))
        self.factory.limits.reserve(shares.first_reserved, shares.refusals)
        self._bus.say(Ready(shares.room(in_use())))

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return a function that applies the time to drain and the limit on connections."""

        def commit() -> None:
            before, self.config = self.config, config
            if before.max_connections != config.max_connections:
                self._fit()

        return commit

    def leave(self, replaced: bool) -> Deferred[None]:
        """Close all connections, and end. A worker that is replaced refuses no client meanwhile."""
        self._replaced = replaced
        if not replaced:
            for port in self.ports or ():
                port.doRead()  # type: ignore[attr-defined]  # take all that were handed over
        return self.stopService()

    def stopService(self) -> Deferred[None]:
        """Close all connections with 1001, and close the message log: see `ConnectionParts.drain`.

        With `Config.health_path` the ports stay open meanwhile, unless the worker is replaced.
        """
        self._stopping = True
        super().stopService()
        ports, self.ports = self.ports or [], None
        kept = [] if self._replaced else kept_open(self.config, self._endpoints, ports)
        told: Iterable[DrainListener] = self.hub
        if self._replaced:
            told = [Patient(each, self._reactor) for each in self.hub]
        return self.core.drain(ports, kept, told, self.config.drain)

    def _not_running(self) -> str | None:
        # A worker that is replaced still serves its connections, and another serves new ones.
        if self._stopping and not self._replaced:
            return "draining"
        return None if self.running or self._replaced else "starting"


class Serving:
    """Handles the parent's messages and the system's signals in a worker."""

    def __init__(
        self,
        reactor: Any,
        end_after: Callable[[float], object],
        threshold: Threshold,
        folder: str,
    ) -> None:
        self.bus = Bus(reactor, self._heard, self._lost)
        self._reactor = reactor
        self._end_after = end_after
        self._service: WorkerService | None = None
        self._hub: WorkerHub | KeptHub | None = None
        self._shown: Shown | None = None
        self._presence: ParentQuestions | None = None
        self._tickets = ParentTickets(self.bus, reactor)
        self._threshold = threshold
        self._folder = folder
        self._prepared: tuple[Config, list[Commit]] | None = None
        self._leaving = False
        self._parent = os.getppid()

    def serve(self, config: Config, ends: Ends, way: str, of: str = "", key: bytes = b"") -> None:
        """Start to serve, as a worker of the service `of`. Raises as `WorkerService` does.

        `key` is the secret for `sketch.Census`.
        """
        if config.broker:
            # With a broker, each worker receives the messages of all nodes by itself.
            self._hub = None
        elif (keeps := Keeps.of(config)).any:
            self._hub = KeptHub(self.bus, self._reactor, keeps)
        else:
            self._hub = WorkerHub(self.bus)
        # With a broker each worker claims tickets by itself.
        tickets = self._tickets if config.admin and not config.broker else None
        self._service = WorkerService(
            config, self._reactor, self._hub, self.bus, ends, way, of, tickets
        )
        # All messages that a connection gets in one turn leave in one write.
        self.bus.together = self._service.factory.gathering.together
        hub = self._service.hub
        self._presence = ParentQuestions(self.bus, self._reactor, hub.local_presence)
        hub.whole = PresenceQuestions(self._presence.ask, QUESTIONS_AT_ONCE, self._reactor).ask
        self._service.listen()
        if config.admin or config.broker:
            # Imported here, since only a worker whose parent keeps a history needs it.
            from .report import Shown
            from .sketch import Census

            service = self._service
            service.hub.channel_sizes = census = Census(key)
            self._shown = Shown(
                service.factory,
                service.hub,
                service.journal,
                self.bus,
                self._reactor,
                census,
                service.core.engine,
                service.core.inbox,
                service.core.meeting,
                service.core.webhook,
            )
            self._shown.start()
        self._service.startService()

    def install_signals(self) -> None:
        """Install the signal handlers. Call this after the reactor installed its own."""
        signal.signal(signal.SIGTERM, self._told_to_end)
        signal.signal(signal.SIGQUIT, self._finish)

    def _told_to_end(self, _number: int, _frame: FrameType | None) -> None:
        if os.getppid() != self._parent and self._service is not None:
            # The kernel ends the process after the drain, even if it is stuck.
            self._end_after(self._service.config.drain + MARGIN)
        self._reactor.callFromThread(self.bus.say, Leaving())

    def _finish(self, number: int, _frame: FrameType | None) -> None:
        if self._service is not None:
            self._service.journal.close()
        os._exit(128 + number)

    # The bus

    def _heard(self, body: bytes) -> None:
        try:
            message = from_parent(body)
        except WrongFieldError as error:
            # After a roll the parent is of an older build. An order that cannot be followed must
            # not cost the connections of this worker.
            _log.error("an order of the parent is left out: {error}", error=str(error))
            if error.request:
                self.bus.say(NoReply(error.request))
            return
        act = _HEARD.get(type(message))
        try:
            if act is None:
                self._report(message)
            else:
                act(self, message)
        except MessageError:
            raise
        except Exception:
            # Tell the parent if it waits for an answer.
            if isinstance(message, BusQuestion) and message.request:
                self.bus.say(NoReply(message.request))
            raise

    def _report(self, message: BusMessage) -> None:
        """Answer a question of the admin face. Raises `MessageError` without reports."""
        if self._shown is None:
            raise unknown(message.kind)
        self._shown.hear(message)

    def _receive(self, message: Publication) -> None:
        handed, dropped = (0, 0) if self._hub is None else self._hub.receive(message)
        if message.request:
            self.bus.say(message.reply(DeliveredCounts(handed, dropped)))

    def _answer_history(self, message: MissedPage) -> None:
        if isinstance(self._hub, KeptHub):
            self._hub.answered(message)

    def _has_lost(self, message: DeliveryLost) -> None:
        if isinstance(self._hub, KeptHub):
            self._hub.lost(message.channel)

    def _tell_presence(self, message: TellPresence) -> None:
        if self._service is not None:
            here = self._service.hub.local_presence(message.channel, message.limit)
            self.bus.say(message.reply(here))

    def _is_told_presence(self, message: PresenceTold) -> None:
        if self._presence is not None:
            self._presence.answered(message)

    def _is_told_of_seats(self, message: SeatGiven | MakeWay) -> None:
        if self._service is not None:
            self._service.seats.hear(message)

    def _is_told_ticket(self, message: TicketTold) -> None:
        self._tickets.answered(message)

    def _ping(self, _message: PingWorker) -> None:
        self.bus.hasten(Pong())

    def _drain(self, message: DrainWorker) -> None:
        self._leave(message.roll)

    def _reopen(self, _message: ReopenLog) -> None:
        if self._service is not None:
            self._service.journal.reopen()

    def _prepare(self, message: PrepareConfig) -> None:
        """Check that a configuration can be applied. Answer with the problem, or ""."""
        problem = ""
        try:
            self._prepare_for(Config(**message.config))
        except WSServiceError as error:
            problem = str(error)
        self.bus.say(message.reply(problem))

    def _prepare_for(self, config: Config) -> list[Commit]:
        parts = [] if self._service is None else self._service.parts
        with within(self._folder):
            commits = [part.prepare(handed(config)) for part in parts]
        self._prepared = (config, commits)
        return commits

    def _commit(self, message: CommitConfig) -> None:
        """Apply a configuration: the prepared one, or another that was checked elsewhere."""
        config = Config(**message.config)
        prepared, self._prepared = self._prepared, None
        try:
            is_it = prepared is not None and prepared[0] == config
            commits = prepared[1] if is_it and prepared else self._prepare_for(config)
        except WSServiceError as error:
            _log.error("this worker asks to be replaced, {why}", why=str(error))
            self.bus.say(Leaving())
            return
        for commit in commits:
            commit()
        self._threshold.level = config.log_level

    def _lost(self) -> None:
        if self._presence is not None:
            self._presence.end()
        if self._service is not None:
            self._service.seats.end()
        self._tickets.end()
        # The parent is gone: close all connections, and end.
        self._leave(False)

    def _leave(self, replaced: bool) -> None:
        if self._leaving or self._service is None:
            return
        self._leaving = True
        self._end_after(self._service.config.drain + MARGIN)
        # In another turn, so that the effects of the last connection's end are done first.
        self._service.leave(replaced).addBoth(lambda _: self._reactor.callLater(0, self._stop))

    def _stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()
        self.bus.flush()
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()


_HEARD = dict(
    [
        handler(Publication, Serving._receive),
        handler(MissedPage, Serving._answer_history),
        handler(DeliveryLost, Serving._has_lost),
        handler(TellPresence, Serving._tell_presence),
        handler(PresenceTold, Serving._is_told_presence),
        handler(SeatGiven, Serving._is_told_of_seats),
        handler(MakeWay, Serving._is_told_of_seats),
        handler(TicketTold, Serving._is_told_ticket),
        handler(PingWorker, Serving._ping),
        handler(DrainWorker, Serving._drain),
        handler(ReopenLog, Serving._reopen),
        handler(PrepareConfig, Serving._prepare),
        handler(CommitConfig, Serving._commit),
    ]
)
