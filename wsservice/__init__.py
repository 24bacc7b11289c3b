"""A WebSocket service on Twisted and Autobahn, and the client to talk to it with.

The map. Imports run one way, downwards in this list::

    errors.py       every exception, one tree
    escape.py       what a peer sent, made safe to print                      PURE
    request.py      the opening handshake's request, read strictly            PURE
    page/           the pages for people                                      PURE
    plain.py        what is answered to plain HTTP                            PURE
    policy.py       who may connect, how many; close codes                    PURE
    channels.py     the channels a request names, and where each goes on      PURE
    counting.py     what is counted, for who watches the service              PURE
    config.py       Config: frozen, validated, the only home of a default     PURE
    settings.py     file, environment and command line, merged to a Config    PURE
    history.py      the last messages of each channel                         PURE
    publisher.py    publishing from another process, by the admin face        PURE
    publish.py      the program that does: python -m wsservice.publish        PURE
    scaling/        how many machines a load needs; its own map in its docstring PURE
    masking.py      what of a request is not for a log                        PURE
    log.py          the logger that escapes
    secretfile.py   a secret in a file of its own
    frames/         octets to messages and back                               PURE
    sending.py      what is gathered, and what waits, to be sent on a connection PURE
    envelopes.py    the subprotocol wsservice.v1                              PURE
    compression.py  permessage-deflate
    timers.py       the timers of all connections on one of the reactor's
    transports.py   what Twisted's transports are called, and can do
    callbacks.py    a behaviour's callbacks, one after another
    reading.py      from octets to onMessage: codec or Autobahn, in slices
    keepalive.py    whether a peer is still there
    watching.py     showing what passes on one connection to who watches it
    connection.py   Autobahn's protocol made safe: what server and client share
    factory.py      what all connections of a factory have in common
    destination.py  a file or standard output, for lines
    lines.py        what a line of the message log looks like: text, or JSON
    jsonlog.py      Twisted's log as lines of JSON
    threshold.py    how much Twisted's log has
    twistedlog.py   Twisted's log, for lines: its file in batches
    journal.py      the message log
    hub/            who is connected, and sending to many: local.py, following.py, question.py
    resuming.py     wsservice.v1 on a server's connection: what it missed, then what comes
    beginning.py    what every connection of a server begins with, made once
    ending.py       the closing handshake, where all is in order
    opening.py      the opening handshake, the server's side
    server.py       ServerProtocol, the greeting and echo behaviours, ServerFactory
    client/         connect(), and the program; its own map in its docstring
    webhook/        telling a web server what happens; its own map in its docstring
    tls.py          TLS with less done for each message
    certificate.py  the keys and certificates of ports, read again
    accepting.py    a port that waits where there is a shortage of descriptors
    activation.py   sockets that systemd hands over
    listening.py    where to listen
    polling.py      the sockets of a port's connections, polled together
    descriptors.py  how many connections the limit on open files leaves room for
    reloading.py    settings read anew while it runs: all in effect, or none
    notify.py       what the service manager that started the process is told
    admin/          the face for who runs it; its own map in its docstring
    broker/         Redis or Valkey between nodes; its own map in its docstring
    cluster/        the nodes that meet there; its own map in its docstring
    workers/        many processes for one service; its own map in its docstring
    service.py      assembly, start, drain: the only module that knows every part
    serving.py      a worker's service, which does what its parent says
    signals.py      SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP
    memory.py       what Python and the C library are told of memory
    worker.py       what a worker's process runs
    tap.py          twistd's face: Options -> Config, makeService

A handshake's way: octets -> `opening` -> `request` -> `policy` -> `onConnect` -> 101.

A message's way: octets -> `reading` (`frames`, or Autobahn's state machine)
-> `onMessage` in `server` -> `journal`, or `hub` -> `Connection.sendMessage`
-> `sending` -> octets. PURE modules import nothing of Twisted or Autobahn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config import Config as Config
    from .server import EchoServerProtocol as EchoServerProtocol
    from .server import GreetingServerProtocol as GreetingServerProtocol
    from .server import ServerFactory as ServerFactory
    from .server import ServerProtocol as ServerProtocol
    from .service import WebSocketService as WebSocketService

_HOMES = {
    "Config": "config",
    "EchoServerProtocol": "server",
    "GreetingServerProtocol": "server",
    "ServerFactory": "server",
    "ServerProtocol": "server",
    "WebSocketService": "service",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Loaded when asked for: what needs only a PURE module does not pay for Twisted.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
