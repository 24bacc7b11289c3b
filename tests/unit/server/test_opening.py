"""opening.py: `onConnect` is asked, and its answer sent, as Autobahn would."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from wsservice.net.tls import TLSTransport
from wsservice.net.transports import Unchanged
from wsservice.protocol.compression import server_accept
from wsservice.server.behaviours import ServerProtocol
from wsservice.server.peers import descriptor

from ...support import PEER, Client, Served, opening_request

NAMES = st.sampled_from(["X-A", "Cookie", "Sec-WebSocket-Protocol", "Origin", "~"])
WORDS = st.text("abc;=%/-_.~ ", max_size=12).map(str.strip)
EXTENSIONS = st.sampled_from(
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=13",
        'permessage-deflate; server_max_window_bits="10", x; y=1',
        "x",
    ]
)
TARGETS = st.text("abc%2/?&=-._~", max_size=20).map(lambda text: "/" + text.lstrip("/"))
HOSTS = st.sampled_from(["localhost", "localhost:8080", "[::1]", "[::1]:80", "EXAMPLE.com:443"])


def answer_of(asked: ConnectionRequest) -> Any:
    """Every kind of decision, chosen by the request."""
    headers: Any = {"X-One": "1", "X-Two": ["2", "3"]}
    if asked.protocols:
        return (asked.protocols[-1], headers) if len(asked.path) % 2 else asked.protocols[0]
    return (None, headers) if len(asked.path) % 2 else None


class Keeping:
    """Keeps what it was asked."""

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.asked = request
        return answer_of(request)


class Ours(Keeping, ServerProtocol):  # type: ignore[misc]
    pass


class Stock(Keeping, WebSocketServerProtocol):  # type: ignore[misc]
    pass


def stock() -> Any:
    factory = WebSocketServerFactory(server="", reactor=Clock())
    factory.setProtocolOptions(perMessageCompressionAccept=server_accept, openHandshakeTimeout=0)
    factory.protocol = Stock
    return factory.buildProtocol(PEER)


def fields(asked: ConnectionRequest) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in ConnectionRequest.__slots__}


@given(TARGETS, HOSTS, st.lists(st.tuples(NAMES, WORDS)), st.none() | EXTENSIONS)
def test_as_autobahn_would(
    target: str, host: str, more: list[tuple[str, str]], extensions: str | None
) -> None:
    lines = [f"{name}: {value}" for name, value in dict(more).items()]
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    request = opening_request(target, *lines).replace(b"localhost:8080", host.encode())
    ours = Client(Served(Ours, compression=True).factory.buildProtocol(PEER))
    ours.send(request)
    if not ours.transport.value().startswith(b"HTTP/1.1 101"):
        return  # we are the stricter one; what is refused has tests of its own
    if dict(more).get("Sec-WebSocket-Protocol") == "":
        return  # no offer to us, and to Autobahn one of a subprotocol without a name
    theirs = Client(stock())
    theirs.send(request)
    assert ours.taken() == theirs.taken()
    expected = fields(theirs.protocol.asked)
    expected["path"] = target.partition("?")[0]  # Autobahn cuts it at a semicolon
    assert fields(ours.protocol.asked) == expected
    for name in ("http_headers", "http_request_host", "http_request_params", "peer"):
        assert getattr(ours.protocol, name) == getattr(theirs.protocol, name)
    for name in ("websocket_protocol_in_use", "websocket_protocols", "websocket_version"):
        assert getattr(ours.protocol, name) == getattr(theirs.protocol, name)
    in_use = [
        [each.__json__() for each in connection.protocol.websocket_extensions_in_use]
        for connection in (ours, theirs)
    ]
    assert in_use[0] == in_use[1]


@pytest.mark.parametrize(
    "most",
    [";a" * 7900, ",a" * 7900, ',"' + "a" * 15_000, ", permessage-deflate" * 780],
)
def test_of_many_extensions_only_the_first_are_looked_at(most: str) -> None:
    client = Client(Served(Ours, compression=True).factory.buildProtocol(PEER))
    client.send(opening_request("/", f"Sec-WebSocket-Extensions: permessage-deflate, b{most}"))
    assert b"Sec-WebSocket-Extensions: permessage-deflate" in client.taken()
    offered = client.protocol.asked.extensions
    assert offered[0] == ("permessage-deflate", {})
    asked_for = sum(1 + sum(map(len, parameters.values())) for _, parameters in offered)
    assert asked_for <= 512


@pytest.mark.parametrize(("room", "is_looked_at"), [(0, True), (1, False)])
def test_an_offer_is_looked_at_whole_or_not_at_all(room: int, is_looked_at: bool) -> None:
    last = "permessage-deflate"
    first = "a" * (1024 - len(last) - 1 + room)
    client = Client(Served(Ours, compression=True).factory.buildProtocol(PEER))
    client.send(opening_request("/", f"Sec-WebSocket-Extensions: {first},{last},b"))
    names = [name for name, _ in client.protocol.asked.extensions]
    assert names == [first, last][: 1 + is_looked_at]
    assert (last.encode() in client.taken()) is is_looked_at


class Later(ServerProtocol):
    """Decides when it is told to."""

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.decision: Deferred[Any] = Deferred()
        return self.decision


@pytest.mark.parametrize("decision", [None, ("b", {"X": "1"})])
def test_a_decision_that_comes_later(decision: Any) -> None:
    client = Served(Later).connect()
    client.send(opening_request("/", "Sec-WebSocket-Protocol: a, b"))
    assert client.transport.is_paused()
    assert client.taken() == b""
    client.protocol.decision.callback(decision)
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    assert not client.transport.is_paused()
    assert client.protocol.websocket_protocol_in_use == (decision and "b")


def test_a_decision_that_comes_too_late() -> None:
    client = Served(Later).connect()
    client.send(opening_request())
    client.lose()
    client.protocol.decision.callback(None)
    assert client.taken() == b""
    assert client.protocol.state == client.protocol.STATE_CLOSED


@pytest.mark.parametrize(("kind", "arguments"), [(TLSTransport, [None]), (Unchanged, [])])
def test_a_descriptor_is_found_beneath_what_wraps_its_transport(
    kind: Any, arguments: list[Any]
) -> None:
    transport: Any = StringTransport()
    wrapper = kind(*arguments, None, Protocol())
    wrapper.transport = transport
    assert descriptor(wrapper) == descriptor(transport) == 0
    transport.fileno = lambda: 7
    assert descriptor(wrapper) == descriptor(transport) == 7
