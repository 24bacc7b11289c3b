"""Service and client in one process, over real TCP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredQueue,
)
from twisted.internet.threads import deferToThread

from wsservice import Config, ServerProtocol, WebSocketService
from wsservice.client import ClientProtocol, connect
from wsservice.errors import ConnectError, HandshakeError
from wsservice.service import behaviour as behaviour_module

from .processes import PATIENCE


def in_the_reactor(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """pytest-twisted's decorator, which has no types."""
    run: Callable[..., None] = pytest_twisted.ensureDeferred(test)
    return run


class Guest(ClientProtocol):
    """A client whose messages and end can be waited for."""

    def onConnect(self, response: object) -> None:
        self.messages: DeferredQueue[bytes] = DeferredQueue()
        self.closed: Deferred[tuple[bool, int | None, str | None]] = Deferred()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.put(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.closed.callback((wasClean, code, reason))


class Room(ServerProtocol):
    """Tells everyone in it what one says."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.broadcast(payload, isBinary)


def bounded(deferred: Deferred[Any]) -> Deferred[Any]:
    return deferred.addTimeout(PATIENCE, reactor)


class House:
    """Services that are stopped with the test, and the guests in them."""

    def __init__(self) -> None:
        self.services: list[WebSocketService] = []
        self.guests: list[Guest] = []

    def open(self, **settings: Any) -> str:
        """Start a service: its URL."""
        service = WebSocketService(
            Config(listen=("tcp:0:interface=127.0.0.1",), **settings),
            reactor,
        )
        service.startService()
        self.services.append(service)
        assert service.ports is not None
        host: Any = service.ports[0].getHost()
        return f"ws://127.0.0.1:{host.port}/"

    async def enter(self, url: str, **settings: Any) -> Guest:
        """Connect."""
        guest = await bounded(connect(url, Guest, reactor=reactor, **settings))
        self.guests.append(guest)
        assert isinstance(guest, Guest)
        return guest

    async def end(self) -> None:
        for service in self.services:
            if service.running:
                await bounded(service.stopService())
        for guest in self.guests:
            await bounded(guest.closed)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.end()


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under importlib mode a test module cannot be imported by its name.
    monkeypatch.setitem(behaviour_module._SHORT_NAMES, "room", Room)


@in_the_reactor
async def test_service_and_client_talk(house: House) -> None:
    guest = await house.enter(house.open())
    assert await bounded(guest.messages.get()) == b"Hello from server"
    guest.sendClose(1000)
    assert await bounded(guest.closed) == (True, 1000, None)


@in_the_reactor
async def test_a_hundred_clients_all_hear_a_broadcast_in_order(house: House) -> None:
    url = house.open(protocol="room")
    # One after another: all at once they would share the time that a handshake may take.
    guests = [await house.enter(url) for _ in range(100)]
    for number in range(10):
        guests[0].sendMessage(b"%d" % number)
    for guest in guests:
        heard = [await bounded(guest.messages.get()) for _ in range(10)]
        assert heard == [b"%d" % number for number in range(10)]
    assert len(house.services[0].hub) == 100


@in_the_reactor
async def test_a_broadcast_goes_on_when_a_client_is_cut_off(house: House) -> None:
    url = house.open(protocol="room")
    guests = [await house.enter(url) for _ in range(3)]
    guests[1].transport.abortConnection()
    guests[0].sendMessage(b"who is there?")
    for guest in (guests[0], guests[2]):
        assert await bounded(guest.messages.get()) == b"who is there?"


@in_the_reactor
async def test_a_message_of_megabytes_comes_back_whole(house: House) -> None:
    url = house.open(protocol="echo", max_message_size=0)
    guest = await house.enter(url, max_message_size=0)
    for size in (0, 1, 125, 126, 65535, 65536, 5_000_000):
        payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        guest.sendMessage(payload, isBinary=True)
        assert await bounded(guest.messages.get()) == payload


@in_the_reactor
async def test_a_message_too_big_is_refused_with_1009_by_either_end(house: House) -> None:
    url = house.open(protocol="echo", max_message_size=1000)
    guest = await house.enter(url)
    guest.sendMessage(b"x" * 1000)
    assert len(await bounded(guest.messages.get())) == 1000
    guest.sendMessage(b"x" * 1001)
    assert (await bounded(guest.closed))[1] == 1009
    small = await house.enter(url, max_message_size=10)
    small.sendMessage(b"x" * 11)
    await bounded(small.closed)
    assert small.messages.size is None
    assert small.messages.pending == []


@in_the_reactor
async def test_stopping_closes_all_with_1001_and_fires_when_they_are_gone(house: House) -> None:
    url = house.open()
    guests = [await house.enter(url) for _ in range(20)]
    service = house.services[0]
    await bounded(service.stopService())
    assert len(service.hub) == 0
    assert [(await bounded(guest.closed))[:2] for guest in guests] == [(True, 1001)] * 20
    with pytest.raises(ConnectError, match="connection refused"):
        await bounded(connect(url, Guest, reactor=reactor))


@in_the_reactor
async def test_a_service_stops_within_drain_when_a_client_is_mute(house: House) -> None:
    guest = await house.enter(house.open(drain=0.3, close_timeout=0))
    guest.transport.pauseProducing()
    await bounded(house.services[0].stopService())
    assert len(house.services[0].hub) == 1
    for connection in house.services[0].hub:
        connection.transport.abortConnection()  # type: ignore[attr-defined]
    guest.transport.resumeProducing()


@in_the_reactor
async def test_a_service_can_be_started_again(house: House) -> None:
    house.open()
    service = house.services[0]
    await bounded(service.stopService())
    service.startService()
    assert service.ports is not None
    host: Any = service.ports[0].getHost()
    guest = await house.enter(f"ws://127.0.0.1:{host.port}/")
    assert await bounded(guest.messages.get()) == b"Hello from server"


@in_the_reactor
async def test_giving_up_ends_the_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(PATIENCE)
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}/"
        with pytest.raises(HandshakeError):
            await bounded(connect(url, reactor=reactor, handshake_timeout=0.3))
        first = mute.accept()[0]
        attempt = connect(url, reactor=reactor, handshake_timeout=0)
        second = (await deferToThread(mute.accept))[0]
        second.settimeout(PATIENCE)
        # It asks, and so is connected.
        await deferToThread(second.recv, 1, socket.MSG_PEEK)
        attempt.cancel()
        with pytest.raises(CancelledError):
            await attempt
        first.settimeout(PATIENCE)
        for each in (first, second):
            with each, each.makefile("rb") as said, pytest.raises(ConnectionResetError):
                await deferToThread(said.read)
