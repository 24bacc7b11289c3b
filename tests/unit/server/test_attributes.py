"""attributes.py: what a connection begins with is what Autobahn would begin it with."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.wamp.types import TransportDetails
from twisted.internet.task import Clock

from wsservice.server.behaviours import EchoServerProtocol

from ...support import Client, Peer, Served

OURS = {
    # Timers of our own.
    "openHandshakeTimeoutCall",
    # What nobody reads is one for all.
    "trafficStats",
    "send_queue",
    # Told apart below.
    "utf8validator",
    "is_open",
    "is_closed",
    "_results",
    "_transport_details",
    "_valid_events",
    "factory",
    "transport",
    "connected",
    "peer",
}


def stock() -> Any:
    """A connection of Autobahn alone, as it begins."""
    factory = WebSocketServerFactory(reactor=Clock())
    factory.setProtocolOptions(openHandshakeTimeout=0)
    factory.protocol = WebSocketServerProtocol
    connection = factory.buildProtocol(None)
    Peer(connection)
    return connection


def test_it_has_all_that_autobahn_gives_with_the_same_values() -> None:
    theirs = vars(stock())
    ours = Served().connect().protocol
    options = set(WebSocketServerProtocol.CONFIG_ATTRS)
    for name in theirs.keys() - OURS - options:
        assert getattr(ours, name) == theirs[name], name
    for name in OURS | options:
        assert hasattr(ours, name), name


def test_what_changes_in_place_is_each_connections_own() -> None:
    served = Served()
    one, other = served.connect().protocol, served.connect().protocol
    for name in theirs_that_change():
        assert getattr(one, name) is getattr(one, name)
        assert getattr(one, name) is not getattr(other, name), name


def theirs_that_change() -> set[str]:
    """Names of what Autobahn makes for each connection, without what nobody reads here."""
    plain = (bool, int, str, bytes, tuple, type(None))
    names = {name for name, value in vars(stock()).items() if not isinstance(value, plain)}
    options = set(WebSocketServerProtocol.CONFIG_ATTRS)
    return names - options - {"trafficStats", "send_queue", "_valid_events", "factory", "transport"}


class TestDeferreds:
    @pytest.mark.parametrize("early", [True, False])
    def test_is_open_fires_once_it_is_open(self, early: bool) -> None:
        client = Served().connect()
        if early:
            assert not client.protocol.is_open.called
        client.open()
        assert client.protocol.is_open.called

    @pytest.mark.parametrize("early", [True, False])
    def test_is_open_does_not_for_one_that_was_refused(self, early: bool) -> None:
        client = Served().connect()
        if early:
            assert not client.protocol.is_open.called
        client.send(b"bad\r\n")
        client.lose()
        assert not client.protocol.is_open.called

    @pytest.mark.parametrize("end", [Client.close, Client.lose])
    @pytest.mark.parametrize("early", [True, False])
    def test_is_closed_fires_once_it_is_over(self, early: bool, end: Any) -> None:
        client = Served().connect().open()
        over: list[Any] = []
        if early:
            client.protocol.is_closed.addCallback(over.append)
            assert over == []
        end(client)
        client.protocol.is_closed.addCallback(over.append)
        assert client.protocol in over


def test_its_transport_is_described_when_asked() -> None:
    details = Served().connect().protocol.transport_details
    assert details.peer == "tcp4:192.0.2.1:5000"
    assert details.is_server is True
    assert details.channel_framing == TransportDetails.CHANNEL_FRAMING_WEBSOCKET


class Waiting(EchoServerProtocol):
    async def onConnect(self, request: object) -> None:  # type: ignore[override]
        """As one that looks something up."""


@pytest.mark.parametrize("protocol", [EchoServerProtocol, Waiting])
@pytest.mark.parametrize("end", ["clean", "lost", "before it opened", "refused", "asked for"])
def test_one_that_is_over_is_freed_at_once(end: str, protocol: Any) -> None:
    served = Served(protocol)
    client = served.connect()
    if end == "refused":
        client.send(b"bad\r\n")
    elif end != "before it opened":
        client.open()
        client.text("hi")
    if end == "asked for":
        assert not client.protocol.is_closed.called
    if end in ("clean", "asked for"):
        client.close()
    client.lose()
    gone = weakref.ref(client.protocol)
    gc.disable()
    try:
        del client
        assert gone() is None
    finally:
        gc.enable()
