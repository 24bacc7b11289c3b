"""The first attributes of a server's connection: those of Autobahn, shared by all connections.

Autobahn sets some forty attributes on each connection and makes a dozen objects for it, most of
which are never read. Here the class holds the values that never change in place, and the rest is
made on first access.
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
from autobahn.websocket.types import ConnectionRequest
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.defer import Deferred, succeed

from ..config.close_codes import CloseCode
from ..http.request import Request
from ..log.peer import PeerLogger
from ..net.transports import peer_descriptor
from ..private import of_autobahn
from .remembered import Remembered

_PLAIN = (bool, int, str, bytes, type(None))


def _when_asked(make: Callable[[Any], Any]) -> Any:
    """Return a descriptor that makes the attribute on first access."""
    return cached_property(make)


def _each_time(make: Callable[[Any], Any]) -> Any:
    """Return a descriptor that makes the attribute on each access."""
    return property(make)


def _details(connection: Any) -> TransportDetails:
    details = create_transport_details(connection.transport, is_server=True)
    details.peer = connection.peer  # a trusted proxy may have named another
    details.channel_framing = TransportDetails.CHANNEL_FRAMING_WEBSOCKET
    return details


def _parameters(query: str) -> dict[str, list[str]]:
    return parse_qs(query) if query else {}


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host


_MOST_OF_OFFERS = 1024
"""The largest size, in octets, of offered extensions that are parsed. A server may decline any
(RFC 6455, 9.1), and each parameter takes time; no browser sends a tenth of this."""


class Beginning:
    """The attributes of a new connection. Mix this in before Autobahn's class."""

    localCloseCode: int | None
    remoteCloseCode: int | None
    wasClean: bool
    inside_message = False
    current_frame: Any = None
    http_request_data = http_response_data = http_status_line = ""
    websocket_protocol_in_use: str | None = None

    # The attributes of the request, under Autobahn's names.
    _request: Request | Remembered
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
            _first_offers(self._request.headers.get("sec-websocket-extensions", ""))
        )
    )
    websocket_extensions_in_use = _each_time(
        lambda self: [] if self._perMessageCompress is None else [self._perMessageCompress]
    )

    # Autobahn's observers of "message" are not called: the codec does not support them.
    _valid_events = ("message",)

    def __init__(self) -> None:
        """Set little: Autobahn would make objects that few connections need."""
        # Set here and not on the class, since a connection has a slot for it.
        self.state = WebSocketProtocol.STATE_CONNECTING

    #: Fires once the connection is open.
    is_open = _when_asked(lambda self: succeed(None) if self._has_opened else Deferred())

    #: Fires with the connection once it is over.
    is_closed = _when_asked(
        lambda self: succeed(self) if self.state == self.STATE_CLOSED else Deferred()
    )

    #: The address that a trusted proxy names. On the class, since few connections have any.
    _named_address: Any = None

    @property
    def client_address(self: Any) -> Any:
        """The address of its client, of Twisted's types: its peer's, unless a proxy names one."""
        return self._named_address or self.transport.getPeer()

    #: The name of its peer, such as `tcp4:192.0.2.1:5000`.
    peer = _when_asked(lambda self: peer_descriptor(self.client_address, self.transport))

    # For text that comes in fragments, or compressed.
    utf8validator = _when_asked(lambda _: Utf8Validator())
    _results = _when_asked(lambda _: {})
    _transport_details = _when_asked(_details)

    @property
    def user_agent(self) -> str:
        """Return the User-Agent of the peer, "" without one, or before its request."""
        request = self.__dict__.get("_request")
        return "" if request is None else str(request.headers.get("user-agent", ""))

    @property
    def close_code(self) -> int:
        """Return the code of the first close frame.

        It is 1005 if that frame had no code, 1006 without a close frame.
        """
        code: int | None = self.localCloseCode
        if code is None:
            code = self.remoteCloseCode
        if code is None:
            code = CloseCode.NO_STATUS if self.wasClean else CloseCode.ABNORMAL
        return code


def connection_request(connection: Any) -> ConnectionRequest:
    """Return the request of a connection, as Autobahn's `onConnect` gets it."""
    return ConnectionRequest(
        connection.peer,
        connection.http_headers,
        connection.http_request_host,
        connection.http_request_path,
        connection.http_request_params,
        connection.websocket_version,
        connection.websocket_origin,
        connection.websocket_protocols,
        connection.websocket_extensions,
    )


def _first_offers(header: str) -> str:
    """Return the extensions of a header to parse: the whole ones at its beginning."""
    if len(header) <= _MOST_OF_OFFERS:
        return header
    # A comma just behind them ends an offer too. A comma within quotes would leave half an
    # offer, which is malformed, and declined.
    return header[: _MOST_OF_OFFERS + 1].rpartition(",")[0]


def first_state() -> dict[str, Any]:
    """Return the attributes that Autobahn sets on each new connection of a server, by name."""
    given: dict[str, Any] = {
        "CONFIG_ATTRS": (),
        "factory": SimpleNamespace(isServer=True),
        "log": PeerLogger(namespace="wsservice"),
        "openHandshakeTimeout": 0,
        "setTrackTimings": lambda _: None,
        "trackTimings": False,
    }
    return of_autobahn.first_state(given)


for _name, _value in first_state().items():
    if isinstance(_value, _PLAIN) and _name != "state":
        setattr(Beginning, _name, _value)
