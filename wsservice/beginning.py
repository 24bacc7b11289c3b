"""How a server's connection begins: with what Autobahn gives each, given once to all.

Autobahn sets some forty attributes on each connection and makes a dozen objects
for it, most of which nobody ever asks for. Here what never changes in place is
on the class, and the rest is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from autobahn.twisted.util import create_transport_details
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.defer import Deferred, succeed

from .log import PeerLogger
from .request import Request

_PLAIN = (bool, int, str, bytes, type(None))


def _when_asked(make: Callable[[Any], Any]) -> Any:
    """An attribute that is made when it is first asked for."""
    return cached_property(make)


def _each_time(make: Callable[[Any], Any]) -> Any:
    """An attribute that is made whenever it is asked for."""
    return property(make)


def _details(transport: Any) -> TransportDetails:
    details = create_transport_details(transport, is_server=True)
    details.channel_framing = TransportDetails.CHANNEL_FRAMING_WEBSOCKET
    return details


def _parameters(query: str) -> dict[str, list[str]]:
    return parse_qs(query) if query else {}


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host


class Beginning:
    """A connection's attributes before anything happened to it. Mixed in before Autobahn's."""

    inside_message = False
    current_frame: Any = None
    http_request_data = http_response_data = http_status_line = ""
    websocket_protocol_in_use: str | None = None

    # What is known of the request, by Autobahn's names.
    _request: Request
    websocket_version = 13
    http_headers = _each_time(lambda self: self._request.headers)
    http_request_uri = _each_time(lambda self: self._request.target)
    http_request_path = _each_time(lambda self: self._request.path)
    http_request_params = _each_time(lambda self: _parameters(self._request.query))
    http_request_host = _each_time(lambda self: _without_port(self._request.headers["host"]))
    websocket_origin = _each_time(lambda self: self._request.origin or "")
    websocket_protocols = _each_time(lambda self: list(self._request.subprotocols))
    websocket_extensions = _each_time(
        lambda self: self._parseExtensionsHeader(
            self._request.headers.get("sec-websocket-extensions", "")
        )
    )
    websocket_extensions_in_use = _each_time(
        lambda self: [] if self._perMessageCompress is None else [self._perMessageCompress]
    )

    # Autobahn's observers of "message" are not served: the codec has no place for them.
    _valid_events = ("message",)

    _has_opened = False

    def __init__(self) -> None:
        """Little, where Autobahn makes objects that few connections need."""
        # Not on the class: a connection has a slot for it.
        self.state = WebSocketProtocol.STATE_CONNECTING

    #: Fires once the connection is open.
    is_open = _when_asked(lambda self: succeed(None) if self._has_opened else Deferred())

    #: Fires with the connection once it is over.
    is_closed = _when_asked(
        lambda self: succeed(self) if self.state == self.STATE_CLOSED else Deferred()
    )

    # For text that comes in fragments, or compressed.
    utf8validator = _when_asked(lambda _: Utf8Validator())
    _results = _when_asked(lambda _: {})
    _transport_details = _when_asked(lambda self: _details(self.transport))


def first_state() -> dict[str, Any]:
    """What Autobahn sets on each connection of a server that begins, by name."""
    given: dict[str, Any] = {
        "CONFIG_ATTRS": (),
        "factory": SimpleNamespace(isServer=True),
        "log": PeerLogger(namespace="wsservice"),
        "openHandshakeTimeout": 0,
        "setTrackTimings": lambda _: None,
        "trackTimings": False,
    }
    connection: Any = SimpleNamespace(**given)
    WebSocketProtocol._connectionMade(connection)
    return {name: value for name, value in vars(connection).items() if name not in given}


for _name, _value in first_state().items():
    if isinstance(_value, _PLAIN) and _name != "state":
        setattr(Beginning, _name, _value)
