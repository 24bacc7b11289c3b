"""The service: put together, started, drained. The only module that knows every part."""

from __future__ import annotations

import importlib
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from . import frames
from .broker import open_engine, open_hub
from .config import Config
from .descriptors import Shares, in_use, limit_for, lowest_free
from .errors import ConfigError, WSServiceError
from .escape import escape
from .history import history_of
from .hub import LocalHub
from .journal import Journal, open_journal
from .listening import Renewal, endpoints, listen
from .notify import ServiceManager
from .polling import poll_together
from .reloading import Part
from .server import EchoServerProtocol, GreetingServerProtocol, ServerFactory, ServerProtocol
from .tls import quicken
from .workers.cpus import available
from .workers.parent import ParentService

if TYPE_CHECKING:
    from .admin import Admin, Check
    from .broker.hub import BrokerHub
    from .broker.inbox import Inbox
    from .cluster import Cluster
    from .webhook import Webhook

_log = Logger(namespace="wsservice")

_AT_ONCE = 100
"""So many connections are told at once that the service stops."""

_LAST_WORDS = 1.0
"""Seconds that there are for webhook and inbox at least, where connections took all the drain."""

_EACH_SECOND = 200
"""Of more, so many in a second, as far as `Config.drain` leaves time for it."""

_LEEWAY = 5.0
"""Seconds that stopping may take beside `Config.drain`."""

_SHORT_NAMES: dict[str, type[ServerProtocol]] = {
    "greeting": GreetingServerProtocol,
    "echo": EchoServerProtocol,
}


def find_protocol(name: str) -> type[ServerProtocol]:
    """The behaviour of a name: `greeting`, `echo`, or a dotted name.

    Modules in the current folder are found: twistd by itself does not look
    there. Raises `ConfigError`.
    """
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    allowed = "give greeting, echo, or the dotted name of a subclass of wsservice.ServerProtocol"
    module_name, _, class_name = name.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"--protocol: {name!r} is not allowed; {allowed}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--protocol: {name!r} cannot be imported, {_where(error)}") from error
    if found is None:
        raise ConfigError(f"--protocol: module {module_name!r} has no {class_name!r}; {allowed}")
    if not (isinstance(found, type) and issubclass(found, ServerProtocol)):
        raise ConfigError(f"--protocol: {name!r} is no subclass of ServerProtocol; {allowed}")
    return found


def _where(error: BaseException) -> str:
    """An error of an import in one line: what, and in which line of whose file."""
    text = escape(f"{type(error).__name__}: {error}")
    if isinstance(error, SyntaxError):
        return text  # it says where
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename.startswith("<frozen importlib"):
        return text  # nothing ran: the module itself was not found
    return f"{text} ({escape(last.filename)}, line {last.lineno})"


class Told(Protocol):
    """Who is told that the service stops."""

    def go_away(self) -> None:
        """Say goodbye."""


class Goodbyes:
    """Tells connections that the service stops: a handful at once, many over some seconds.

    Else they would all come back together, to a service that has just started.
    """

    def __init__(self, reactor: Any, connections: Iterable[Told], longest: float) -> None:
        self._reactor = reactor
        untold = list(connections)
        spread = min(longest, len(untold) / _EACH_SECOND) if len(untold) > _AT_ONCE else 0.0
        random.shuffle(untold)
        now = reactor.seconds()
        # The first to be told come last, to be popped.
        moments = sorted((random.uniform(0, spread) for _ in untold), reverse=True)  # noqa: S311
        self._untold = [(now + each, who) for each, who in zip(moments, untold, strict=True)]
        self._call: IDelayedCall | None = None
        self._tell()

    def _tell(self) -> None:
        self._call = None
        while self._untold and self._untold[-1][0] <= self._reactor.seconds():
            self._untold.pop()[1].go_away()
        if self._untold:
            delay = self._untold[-1][0] - self._reactor.seconds()
            self._call = self._reactor.callLater(max(0, delay), self._tell)

    def end(self) -> None:
        """Tell nobody else."""
        self._untold.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None


class WebSocketService(Service):
    """A WebSocket server as a Twisted service. `manager` is told how it goes.

    Raises `ConfigError` or `JournalError` when made, `ListenError` from
    `listen`, which runs when the service starts if it was not called before.
    """

    #: The same as the hub, where that meets others.
    meeting: BrokerHub | None = None

    def __init__(
        self,
        config: Config,
        reactor: Any,
        manager: ServiceManager | None = None,
        hub: LocalHub | None = None,
        open_journal: Callable[[Config, Any], Journal] = open_journal,
        service: str = "",
    ) -> None:
        self.config = config
        self.manager = manager or ServiceManager(reactor)
        self._reactor = reactor
        self._endpoints = endpoints(config, reactor)
        #: Where the nodes meet, None where there is one alone. `service` is in it.
        self.engine = open_engine(config, reactor, service)
        self.webhook = self._open_webhook()
        #: Where what clients send is appended, None where it is not.
        self.inbox = self._open_inbox()
        protocol = self._receiving(self._telling(find_protocol(config.protocol)))
        self.journal = open_journal(config, reactor)
        self.hub = self._open_hub() if hub is None else hub
        self.factory = ServerFactory(config, protocol, self.journal, self.hub, reactor)
        if self.meeting is not None:
            self.meeting.gathering = self.factory.gathering
        self.ports: list[IListeningPort] | None = None
        self._stopping = False
        #: What /readyz asks. Whatever else the service cannot do without has its place here.
        self.checks: list[Check] = [self._not_running, self._no_room]
        if self.engine is not None:
            self.checks.append(self.engine.check)
        if self.meeting is not None:
            self.checks.append(self.meeting.check)
        if self.inbox is not None:
            self.checks.append(self.inbox.check)
        self.admin = self._open_admin()
        #: The nodes that meet there, None where there is one alone.
        self.cluster = self._open_cluster()
        with_tls = [*self._endpoints, *([self.admin.endpoint] if self.admin else [])]
        #: What may be given other settings while it runs, in this order.
        self.parts: list[Part] = [Renewal(with_tls, reactor), self.factory, self.journal, self]
        if self.admin is not None:
            self.parts.append(self.admin)
        if self.webhook is not None:
            self.parts.append(self.webhook)
        if self.engine is not None and self.meeting is not None:
            self.parts += [self.engine, self.meeting]
        if self.inbox is not None:
            self.parts.append(self.inbox)

    def prepare(self, config: Config) -> Callable[[], None]:
        """See `reloading.Part`: how long to drain, and whether there is room for connections."""

        def commit() -> None:
            before, self.config = self.config, config
            if before.max_connections != config.max_connections:
                self._fit()

        return commit

    def _open_webhook(self) -> Webhook | None:
        if not self.config.webhook:
            return None
        # As with the admin face: an HTTP client is much, where nobody needs it.
        from .webhook import open_webhook

        node = "" if self.engine is None else self.engine.service
        return open_webhook(self.config, self._reactor, node)

    def _telling(self, protocol: type[ServerProtocol]) -> type[ServerProtocol]:
        if self.webhook is None:
            return protocol
        from .webhook import telling

        return telling(protocol, self.webhook)

    def _open_inbox(self) -> Inbox | None:
        if self.engine is None or not self.config.inbox:
            return None
        # As with the webhook: not to be loaded where nobody needs it.
        from .broker.inbox import Inbox

        return Inbox(self.config, self.engine, self._reactor)

    def _receiving(self, protocol: type[ServerProtocol]) -> type[ServerProtocol]:
        if self.inbox is None:
            return protocol
        from .broker.receiving import receiving

        return receiving(protocol, self.inbox)

    def _open_admin(self) -> Admin | None:
        if not self.config.admin:
            return None
        # What it needs, twisted.web among it, nobody else does.
        from .admin import Admin

        admin = Admin(self.config, self._reactor, self.factory, self.hub, self.journal, self.checks)
        if self.webhook is not None:
            admin.show_webhook(self.webhook)
        if self.engine is not None and self.meeting is not None:
            admin.show_broker(self.engine, self.meeting)
        if self.hub.history is not None:
            admin.show_history(self.hub.history)
        if self.inbox is not None:
            inbox = self.inbox
            admin.show_inbox(lambda: inbox)
        return admin

    def _open_cluster(self) -> Cluster | None:
        if self.engine is None:
            return None
        # What it needs, most of the admin face among it, nobody else does.
        from .cluster import local_home, open_cluster

        home = local_home(self.hub, self.admin, self.checks, self._reactor)
        return open_cluster(self.config, self._reactor, self.engine, home, self.admin)

    def _not_running(self) -> str | None:
        if self._stopping:
            return "draining"
        return None if self.running else "starting"

    def _no_room(self) -> str | None:
        limits = self.factory.limits
        if limits.full:
            return "no room for more connections"
        if lowest_free() >= limits.first_reserved:
            return "no descriptors for more connections"
        return None

    def listen(self) -> None:
        """Take the ports. Connections are served once the reactor runs."""
        if self.ports is None:
            self.ports = listen(self._endpoints, self.factory)
            for port in self.ports:
                quicken(port, self.factory.gathering)
                poll_together(port, self.factory.gathering)
            if self.admin is not None:
                self._listen_for_admin(self.admin)

    def _listen_for_admin(self, admin: Admin) -> None:
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
        # Only then the reactor has opened all it needs for itself.
        self._reactor.callWhenRunning(self._fit)
        self._reactor.callWhenRunning(self._say_ready)
        self._stopping = False
        if self.webhook is not None:
            self.webhook.start()
        if self.engine is not None:
            self.engine.start()
        super().startService()
        if self.admin is not None:
            self.admin.start()
        if self.cluster is not None:
            self.cluster.start()

    def _say_ready(self) -> None:
        self.manager.ready(lambda: f"connections: {len(self.hub)}")

    def _fit(self) -> None:
        """Leave descriptors for all else, and say how many connections there is room for."""
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
        """Take no more connections, close those there are with 1001, end the message log.

        Many are told one after another, over at most half of `Config.drain`
        seconds. Fires when all are closed, or after all of them. Then the webhook is
        told what it was not told yet, and the inbox, in the time that is left. The admin
        face is the last to go, so that it can be asked meanwhile.
        """
        self._stopping = True
        until = self._reactor.seconds() + self.config.drain
        super().stopService()
        self.manager.stopping(self.config.drain + _LEEWAY)
        stopped = DeferredList([self._stop_listening(port) for port in self.ports or ()])
        self.ports = None
        goodbyes = Goodbyes(self._reactor, self._to_be_told(), self.config.drain / 2)

        def end(_: object) -> Deferred[None] | None:
            goodbyes.end()
            self.journal.close()
            self.manager.stopped()
            return None if self.admin is None else self.admin.stop()

        stopped.addCallback(lambda _: self._drained())
        stopped.addCallback(lambda _: self._tell_rest(until))
        return stopped.addCallback(lambda _: self._stop_engine()).addCallback(end)

    def _open_hub(self) -> LocalHub:
        if self.engine is not None:
            self.meeting = open_hub(self.config, self.engine, self._reactor)
            return self.meeting
        return LocalHub(history=history_of(self.config), wall=self._reactor.seconds)

    def _stop_engine(self) -> Deferred[None] | None:
        if self.meeting is not None:
            self.meeting.close()
        engine = self.engine
        if engine is None:
            return None
        left = succeed(None) if self.cluster is None else self.cluster.stop()
        return left.addCallback(lambda _: engine.stop())

    def _tell_rest(self, until: float) -> Deferred[None] | None:
        """Tell the webhook what it was not told yet: that all who are left are gone, too.

        So it is with the inbox, and what they said last.
        """
        last = [each for each in (self.webhook, self.inbox) if each is not None]
        if not last:
            return None
        for each in cast("Iterable[ServerProtocol]", self.hub):
            each.drop()
        # One turn of the reactor, in which they are lost.
        turn = deferLater(self._reactor, 0, lambda: None)
        least = _LAST_WORDS if self.config.drain else 0.0

        def tell(_: object) -> Deferred[None]:
            left = max(least, until - self._reactor.seconds())
            return DeferredList([each.stop(left) for each in last]).addCallback(lambda _: None)

        return turn.addCallback(tell)

    def _to_be_told(self) -> Iterable[Told]:
        """Who is told that the service stops."""
        return self.hub

    def _stop_listening(self, port: IListeningPort) -> Deferred[None]:
        stopped: Deferred[None] = Deferred()
        result = port.stopListening()
        (result or stopped).addErrback(
            lambda failure: _log.failure("cannot stop listening", failure)
        )
        if result is None:
            stopped.callback(None)
        return result or stopped

    def _drained(self) -> Deferred[None]:
        if not self.config.drain:
            # One turn of the reactor, in which the close frames leave.
            return deferLater(self._reactor, 0, lambda: None)
        settled = self.hub.when_settled()
        deadline = self._reactor.callLater(self.config.drain, settled.cancel)

        def done(result: Any) -> None:
            if deadline.active():
                deadline.cancel()
            if result is not None:
                result.trap(CancelledError)
                _log.warn(
                    "{count} connections did not close within --drain {drain:g} s; dropped",
                    count=self.hub.unsettled,
                    drain=self.config.drain,
                )

        return settled.addBoth(done)


def service_for(
    config: Config, reactor: Any, manager: ServiceManager, give_up: Callable[[str], None]
) -> WebSocketService | ParentService:
    """The service that a configuration asks for: one process, or a parent and its workers.

    `manager` is told how it goes, `give_up` what is wrong where no worker can be started. Raises
    `ConfigError` or `JournalError`.
    """
    count = available() if config.workers == "auto" else int(config.workers)
    if count == 1:
        return WebSocketService(config, reactor, manager)
    find_protocol(config.protocol)
    return ParentService(config, reactor, count, give_up, manager)
