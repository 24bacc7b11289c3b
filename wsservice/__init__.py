"""A WebSocket service on Twisted and Autobahn, and the client to talk to it with.

The map; imports run downwards. A message takes `protocol.reading`, a hub, `protocol.sending`::

    run/          twistd's face: options, signals, reloading
    workers/      many processes: `parent/`, `child/`, and the `wire/` between them
    service/      one process, put together: start, reload, drain
    cli/          the program `wsclient`; its `prompt/` for people
    admin/        HTTP for operators
    cluster/      the nodes of one service
    webhook/      telling a web server what happens
    publisher.py  the public name of `publish`
    publish/      publishing from another process
    broker/       Redis between nodes; `redis/` is the wire
    server/       a server's connection: handshake, behaviours, `page/`
    auth/         credentials, users, and what users may do
    client/       `connect`, `ReconnectingClient`; `web/` has URLs, cookies, proxies
    directory/    the connections of this process: listed, closed, traced
    channels/     publish and subscribe: hub, history, resuming
    protocol/     one WebSocket connection, either end; `frames/` is the codec
    net/          ports, sockets, TLS, timers, limits of the process
    log/          the message log, and Twisted's log
    metrics.py    counts and histograms of connections and messages
    scaling/      how many machines a load needs
    config/       the settings, and the web pages that may connect
    http/         the opening handshake's HTTP, read strictly
    clock.py      the clock that measures, and the time of day
    private/      the private names of Twisted, Autobahn, pyOpenSSL and Python
    escape.py     text from a peer, made safe to print; secrets, masked
    errors.py     every exception, one tree
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config.config import Config as Config
    from .server.behaviours import EchoServerProtocol as EchoServerProtocol
    from .server.behaviours import GreetingServerProtocol as GreetingServerProtocol
    from .server.behaviours import ServerFactory as ServerFactory
    from .server.behaviours import ServerProtocol as ServerProtocol
    from .service.service import WebSocketService as WebSocketService

_HOMES = {
    "Config": "config.config",
    "EchoServerProtocol": "server.behaviours",
    "GreetingServerProtocol": "server.behaviours",
    "ServerFactory": "server.behaviours",
    "ServerProtocol": "server.behaviours",
    "WebSocketService": "service.service",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Loaded when asked for: what needs only a PURE module does not pay for Twisted.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
