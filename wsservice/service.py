"""The service: put together, started, drained. The only module that knows every part."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .config import Config
from .errors import ConfigError
from .escape import escape
from .hub import LocalHub
from .journal import open_journal
from .listening import endpoints, listen
from .server import EchoServerProtocol, GreetingServerProtocol, ServerFactory, ServerProtocol

_log = Logger(namespace="wsservice")

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


class WebSocketService(Service):
    """A WebSocket server as a Twisted service.

    Raises `ConfigError` or `JournalError` when made, `ListenError` from
    `listen`, which runs when the service starts if it was not called before.
    """

    def __init__(self, config: Config, reactor: Any) -> None:
        self.config = config
        self._reactor = reactor
        self._endpoints = endpoints(config, reactor)
        protocol = find_protocol(config.protocol)
        self.journal = open_journal(config, reactor)
        self.hub = LocalHub()
        self.factory = ServerFactory(config, protocol, self.journal, self.hub, reactor)
        self.ports: list[IListeningPort] | None = None

    def listen(self) -> None:
        """Take the ports. Connections are served once the reactor runs."""
        if self.ports is None:
            self.ports = listen(self._endpoints, self.factory)

    def privilegedStartService(self) -> None:
        self.listen()
        super().privilegedStartService()

    def startService(self) -> None:
        self.listen()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Take no more connections, close those there are with 1001, end the message log.

        Fires when all are closed, or after `Config.drain` seconds.
        """
        super().stopService()
        stopped = DeferredList([self._stop_listening(port) for port in self.ports or ()])
        self.ports = None
        for connection in self.hub:
            connection.go_away()
        drained = stopped.addCallback(lambda _: self._drained())
        return drained.addCallback(lambda _: self.journal.close())

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
        empty = self.hub.when_empty()
        deadline = self._reactor.callLater(self.config.drain, empty.cancel)

        def done(result: Any) -> None:
            if deadline.active():
                deadline.cancel()
            if result is not None:
                result.trap(CancelledError)
                _log.warn(
                    "{count} connections did not close within --drain {drain:g} s; dropped",
                    count=len(self.hub),
                    drain=self.config.drain,
                )

        return empty.addBoth(done)
