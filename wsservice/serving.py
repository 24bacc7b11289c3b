"""A worker's service, which does what its parent says."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from .config import Config
from .descriptors import Shares, in_use, limit_for
from .errors import WSServiceError
from .journal import Journal, journal_to, open_journal
from .lines import FORMATS
from .reloading import Commit, within
from .service import Told, WebSocketService
from .threshold import Threshold
from .workers.bus import Bus
from .workers.handed import HandedLimits, HandedReactor, Place, Roster
from .workers.hub import WorkerHub
from .workers.kept import KeptHub
from .workers.messages import (
    MessageError,
    Publication,
    is_page,
    is_publication,
    page,
    parsed,
    publication,
)
from .workers.parent import RECORDS
from .workers.records import RecordDestination
from .workers.supervisor import MARGIN

if TYPE_CHECKING:
    from .workers.shown import Shown

_ANY = "tcp:0"
"""An endpoint in the place of one that asks systemd: where to listen is the parent's, and only
what an endpoint does besides, as TLS, is done in a worker."""

_SYSTEMD = re.compile(r"(?<![^:])systemd:.*")

_SHAKING = 0.1
"""Seconds after which it is looked again whether a connection is open that was not."""


_log = Logger(namespace="wsservice")


@attrs.frozen
class Ends:
    """A worker's ends of all that it shares with its parent."""

    messages: socket.socket
    ports: Sequence[tuple[socket.socket, Place]]


def journal_for(way: str, end: socket.socket) -> Callable[[Config, Any], Journal]:
    """What opens the message log of a worker, by the way that its parent has chosen."""

    def opened(config: Config, reactor: Any) -> Journal:
        if way != RECORDS:
            return open_journal(config, reactor)
        stamp = FORMATS[config.message_log_format]().stamp
        return journal_to(RecordDestination(end, reactor, stamp), config, reactor)

    return opened


def handed(config: Config) -> Config:
    """The configuration of a service as a worker has it."""
    listen = tuple(_SYSTEMD.sub(_ANY, each) for each in config.listen)
    return attrs.evolve(config, listen=listen, admin="", admin_token_file="")


@attrs.define(eq=False)
class _Patient:
    """A connection that is told to go away once it is open: it is not refused."""

    _member: Any
    _reactor: Any

    def go_away(self) -> None:
        if self._member.state == self._member.STATE_CONNECTING:
            self._reactor.callLater(_SHAKING, self.go_away)
        else:
            self._member.go_away()


class WorkerService(WebSocketService):
    """The service of one worker. Raises as `WebSocketService` does."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        hub: WorkerHub | KeptHub | None,
        bus: Bus,
        ends: Ends,
        way: str,
        service: str = "",
    ) -> None:
        roster = Roster(bus, reactor)
        super().__init__(
            handed(config),
            HandedReactor(reactor, ends.ports, roster),
            hub=hub,
            open_journal=journal_for(way, ends.messages),
            service=service,
        )
        self._reactor = reactor
        self._bus = bus
        self._replaced = False
        self.factory.ids = roster
        self.factory.limits = HandedLimits(
            roster,
            config.max_connections_per_ip,
            any(each.startswith("haproxy:") for each in config.listen),
        )

    def _open_cluster(self) -> None:
        """Its parent is the node."""

    def startService(self) -> None:
        self.listen()
        if self.engine is not None:
            self.engine.start()
        super(WebSocketService, self).startService()
        self._reactor.callWhenRunning(self._fit)

    def _fit(self) -> None:
        shares = Shares.of(limit_for(self._reactor))
        self.factory.limits.reserve(shares.first_reserved, shares.refusals)
        self._bus.say("ready", room=shares.room(in_use()))

    def leave(self, replaced: bool) -> Deferred[None]:
        """Close all connections, and end. Where it is replaced, nobody is refused meanwhile."""
        self._replaced = replaced
        if not replaced:
            for port in self.ports or ():
                port.doRead()  # type: ignore[attr-defined]  # those that were handed over
        return self.stopService()

    def _to_be_told(self) -> Iterable[Told]:
        if not self._replaced:
            return super()._to_be_told()
        return [_Patient(each, self._reactor) for each in self.hub]


class Serving:
    """What a worker does when its parent, or the system, tells it something."""

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
        self._threshold = threshold
        self._folder = folder
        self._prepared: tuple[Config, list[Commit]] | None = None
        self._leaving = False
        self._parent = os.getppid()

    def serve(self, config: Config, ends: Ends, way: str, of: str = "") -> None:
        """Begin, as a worker `of` a service. Raises as `WorkerService` does."""
        if config.broker:
            # Where nodes meet, what one of them publishes reaches each worker by itself.
            self._hub = None
        elif config.history_size:
            self._hub = KeptHub(self.bus, self._reactor)
        else:
            self._hub = WorkerHub(self.bus)
        self._service = WorkerService(config, self._reactor, self._hub, self.bus, ends, way, of)
        # What is published by many in one turn leaves, for each connection, in one write.
        self.bus.together = self._service.factory.gathering.together
        self._service.listen()
        if config.admin or config.broker:
            # What it needs nobody else does.
            from .workers.shown import Shown

            service = self._service
            self._shown = Shown(
                service.factory,
                service.hub,
                service.journal,
                self.bus,
                self._reactor,
                service.engine,
                service.inbox,
                service.meeting,
                service.webhook,
            )
            self._shown.start()
        self._service.startService()

    def install_signals(self) -> None:
        """Take the signals over. To be called once the reactor runs, after it took them itself."""
        signal.signal(signal.SIGTERM, self._told_to_end)
        signal.signal(signal.SIGQUIT, self._finish)

    def _told_to_end(self, _number: int, _frame: FrameType | None) -> None:
        if os.getppid() != self._parent and self._service is not None:
            # Whatever it is that this process is at, it does not go on for long.
            self._end_after(self._service.config.drain + MARGIN)
        self._reactor.callFromThread(self.bus.say, "leaving")

    def _finish(self, number: int, _frame: FrameType | None) -> None:
        if self._service is not None:
            self._service.journal.close()
        os._exit(128 + number)

    # The bus

    def _heard(self, body: bytes) -> None:
        if is_publication(body):
            self._deliver(publication(body))
            return
        if is_page(body):
            if isinstance(self._hub, KeptHub):
                self._hub.answered(page(body))
            return
        message = parsed(body)
        if self._shown is not None and message["say"] in self._shown.asked:
            self._shown.asked[message["say"]](message)
            return
        heard = _HEARD.get(message["say"])
        if heard is None:
            raise MessageError(f"{message['say']!r} is not known")
        heard(self, message)

    def _deliver(self, message: Publication) -> None:
        handed, dropped = (0, 0) if self._hub is None else self._hub.deliver(message)
        if message.request:
            answer = {"handed": handed, "dropped": dropped}
            self.bus.say("answer", request=message.request, answer=answer)

    def _has_lost(self, message: Mapping[str, Any]) -> None:
        if isinstance(self._hub, KeptHub):
            self._hub.lost(message["channel"])

    def _ping(self, _message: Mapping[str, Any]) -> None:
        self.bus.say("pong")

    def _drain(self, message: Mapping[str, Any]) -> None:
        self._leave(bool(message["roll"]))

    def _reopen(self, _message: Mapping[str, Any]) -> None:
        if self._service is not None:
            self._service.journal.reopen()

    def _prepare(self, message: Mapping[str, Any]) -> None:
        """Look whether a configuration can be put in effect, and say what is wrong, or ""."""
        problem = ""
        try:
            self._prepare_for(Config(**message["config"]))
        except WSServiceError as error:
            problem = str(error)
        self.bus.say("answer", request=message["request"], answer=problem)

    def _prepare_for(self, config: Config) -> list[Commit]:
        parts = [] if self._service is None else self._service.parts
        with within(self._folder):
            commits = [part.prepare(handed(config)) for part in parts]
        self._prepared = (config, commits)
        return commits

    def _commit(self, message: Mapping[str, Any]) -> None:
        """Put a configuration in effect: that which was prepared, or another that was checked."""
        config = Config(**message["config"])
        prepared, self._prepared = self._prepared, None
        try:
            is_it = prepared is not None and prepared[0] == config
            commits = prepared[1] if is_it and prepared else self._prepare_for(config)
        except WSServiceError as error:
            _log.error("this worker keeps its old settings, {why}", why=str(error))
            return
        for commit in commits:
            commit()
        self._threshold.level = config.log_level

    def _lost(self) -> None:
        # The parent is gone, whatever ended it: those who are here are told, and it is over.
        self._leave(False)

    def _leave(self, replaced: bool) -> None:
        if self._leaving or self._service is None:
            return
        self._leaving = True
        self._end_after(self._service.config.drain + MARGIN)
        # In a turn of its own: what the last connection brings about as it ends is done then.
        self._service.leave(replaced).addBoth(lambda _: self._reactor.callLater(0, self._stop))

    def _stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()
        self.bus.flush()
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()


_HEARD: dict[str, Callable[[Serving, Mapping[str, Any]], None]] = {
    "lost": Serving._has_lost,
    "ping": Serving._ping,
    "drain": Serving._drain,
    "reopen": Serving._reopen,
    "prepare": Serving._prepare,
    "commit": Serving._commit,
}
