"""Share private names with Autobahn.

Our connections, factories and compression are subclasses of Autobahn's. `SHARED` has the private
names that both read or write, each with what it is for. Autobahn has no public names for them. Most
have no fallback: without one a connection would not open, not end, or pass its limits. Therefore
`check` refuses to make a factory with such an Autobahn, in one line. Those in `SPARE` are not
missed: they save memory for objects that Autobahn makes and nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from autobahn.twisted.websocket import WebSocketClientProtocol, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflate
from autobahn.websocket.protocol import (
    WebSocketClientFactory,
    WebSocketProtocol,
    WebSocketServerFactory,
)

from ..errors import ConfigError
from . import absent

_OF_BOTH = {
    "_closeConnection()": "ends TCP; `protocol.lingering` delays that",
    "_fail_connection()": "closes for an error; `protocol.closing` sends the close frame first",
    "_isMessageCompressed": "True within a compressed message",
    "_onClose()": "called at the end; calls a behaviour's `onClose`",
    "_onMessage()": "called for a whole message; calls a behaviour's `onMessage`",
    "_onMessageBegin()": "called for a message; `protocol.fragments` counts",
    "_onMessageEnd()": "called for the end of a message",
    "_onMessageFrameBegin()": "called for a frame; `protocol.fragments` keeps the limits",
    "_onOpen()": "called once the handshake is done; calls a behaviour's `onOpen`",
    "_onPing()": "called for a ping",
    "_onPong()": "called for a pong; `protocol.keepalive` counts it as a sign of life",
    "_perMessageCompress": "the compression that was negotiated, or None",
}

_OF_DEFLATE = {
    "_compressor": "zlib's; None makes Autobahn make a new one",
    "_decompressor": "zlib's; `protocol.compression` makes it",
    "_is_server": "tells which end's parameters count",
}

_OF_FACTORIES = {"_batched_timer": "Autobahn's deadlines; ours are more exact (`net.timers`)"}

SHARED: dict[type, Mapping[str, str]] = {
    WebSocketProtocol: {
        "_connectionLost()": "forgets a connection, and calls `_onClose`",
        "_connectionMade()": "sets the state of a new connection",
    },
    WebSocketServerProtocol: {
        **_OF_BOTH,
        "_parseExtensionsHeader()": "reads the offered extensions",
    },
    WebSocketClientProtocol: {
        **_OF_BOTH,
        "_onConnect()": "called for the server's answer; calls a behaviour's `onConnect`",
        "_parseExtensionsHeader()": "reads the chosen extensions; `protocol.compression` does",
    },
    PerMessageDeflate: _OF_DEFLATE,
    WebSocketServerFactory: _OF_FACTORIES,
    WebSocketClientFactory: _OF_FACTORIES,
}
"""Autobahn's classes, with the names that ours share with each. A method's name has `()`."""

SPARE = {
    "_results": "results of Autobahn's own observers",
    "_transport_details": "a connection's address and certificate, made on first access",
    "_valid_events": "the events that Autobahn's own observers may ask for",
}
"""The names that ours share with Autobahn's, and do without."""


def _gone() -> list[str]:
    return sorted({name for owner, names in SHARED.items() for name in absent(owner, names)})


_GONE = _gone()


def check() -> None:
    """Raise `ConfigError` if this version of Autobahn lacks a name of `SHARED`."""
    if _GONE:
        raise ConfigError(
            f"Autobahn {version('autobahn')} is not supported: it has no {', '.join(_GONE)};"
            " install another version, or a newer wsservice"
        )


#: `connection_lost(connection, reason)`: Autobahn's part of the end of a connection.
connection_lost: Callable[[Any, Any], None] = getattr(WebSocketProtocol, "_connectionLost", None)  # type: ignore[assignment]


def first_state(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that Autobahn sets on a new connection, by name.

    `given` has the attributes of the connection before. Returns no attribute without that name.
    """
    connection: Any = SimpleNamespace(**given)
    made: Callable[[Any], None] | None = getattr(WebSocketProtocol, "_connectionMade", None)
    if made is not None:
        made(connection)
    return {name: value for name, value in vars(connection).items() if name not in given}


def is_of_server(extension: PerMessageDeflate) -> bool:
    """Return True if a compression is that of a server's connection."""
    of_server: bool = extension._is_server
    return of_server
