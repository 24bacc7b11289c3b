"""A reconnecting client, on connections in memory."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.application.service import IService, MultiService
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from wsservice.client.inbox import LIMIT
from wsservice.client.protocol import ClientProtocol
from wsservice.client.service import ReconnectingClient
from wsservice.errors import ConfigError, ConnectionClosed, HandshakeError

from ...support import CLOSE, PING, PONG, TEXT, Logged, Server, close_payload, frame
from .test_staying import reached

URL = "ws://127.0.0.1:8080/"


class Client:
    """A started client, and the servers that it talks to."""

    def __init__(self, protocol: Any = None, **settings: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.client = ReconnectingClient(URL, protocol, reactor=self.reactor, **settings)
        self.client.startService()

    def accepted(self) -> Server:
        """The next server, whose connection is open."""
        return reached(self.reactor).accept()

    def again(self) -> Server:
        """The same, after the delay."""
        self.reactor.advance(60)
        return self.accepted()

    def refused(self, head: bytes) -> None:
        server = reached(self.reactor)
        server.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        server.lose()
        self.reactor.advance(0)

    def stop(self) -> list[Any]:
        return outcome(self.client.stopService())

    async def read(self, into: list[Any]) -> None:
        async for message in self.client:
            into.append(message)


def run(coroutine: Coroutine[Deferred[Any], Any, Any]) -> list[Any]:
    return outcome(Deferred.fromCoroutine(coroutine))


def outcome(deferred: Deferred[Any]) -> list[Any]:
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    return outcome


def texts(*messages: str) -> bytes:
    return b"".join(frame(TEXT, each.encode(), masked=False) for each in messages)


def closes(server: Server, code: int = 1000) -> None:
    server.send(frame(CLOSE, close_payload(code), masked=False))
    server.lose()


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_setting_that_is_not_allowed_is_raised_when_it_is_made() -> None:
    with pytest.raises(ConfigError):
        ReconnectingClient("http://localhost/", reactor=MemoryReactorClock())
    with pytest.raises(ConfigError):
        ReconnectingClient(URL, reactor=MemoryReactorClock(), close_timeout=-1)


def test_it_is_a_service_like_any_other() -> None:
    reactor = MemoryReactorClock()
    client = ReconnectingClient(URL, reactor=reactor)
    assert IService.providedBy(client)
    parent = MultiService()
    client.setServiceParent(parent)
    assert reactor.tcpClients == []
    parent.startService()
    assert len(reactor.tcpClients) == 1
    parent.stopService()


class TestReading:
    def test_messages_of_all_connections_are_read_in_order(self, client: Client) -> None:
        read: list[Any] = []
        run(client.read(read))
        server = client.accepted()
        server.send(texts("one", "two"))
        server.lose(error.ConnectionLost())
        client.again().send(texts("three") + frame(2, b"\xff", masked=False))
        assert read == ["one", "two", "three", b"\xff"]

    def test_a_server_is_not_read_while_enough_waits(self, client: Client) -> None:
        sent = [str(number) * 1000 for number in range(200)]
        server = client.accepted()
        server.send(texts(*sent))
        assert server.transport.is_paused()
        read: list[Any] = []
        run(client.read(read))
        assert read == sent
        assert not server.transport.is_paused()

    def test_nor_is_the_next_one(self, client: Client) -> None:
        server = client.accepted()
        server.send(texts("x" * LIMIT))
        server.lose(error.ConnectionLost())
        second = client.again()
        assert second.transport.is_paused()
        assert outcome(client.client.recv()) == ["x" * LIMIT]
        assert not second.transport.is_paused()

    def test_what_waits_is_read_while_there_is_no_connection(self, client: Client) -> None:
        server = client.accepted()
        server.send(texts("x" * LIMIT))
        server.lose(error.ConnectionLost())
        assert outcome(client.client.recv()) == ["x" * LIMIT]
        client.again().send(texts("y"))
        assert outcome(client.client.recv()) == ["y"]

    def test_cancelled_it_takes_none(self, client: Client) -> None:
        waiting = client.client.recv()
        result = outcome(waiting)
        waiting.cancel()
        assert result[0].check(CancelledError)
        client.accepted().send(texts("one"))
        assert outcome(client.client.recv()) == ["one"]

    def test_the_loop_ends_when_it_is_stopped(self, client: Client) -> None:
        done = run(client.read([]))
        server = client.accepted()
        client.client.stopService()
        assert done == []
        closes(server)
        assert done == [None]

    def test_the_loop_raises_what_made_it_give_up(self, client: Client) -> None:
        done = run(client.read([]))
        client.refused(b"403 Forbidden")
        assert done[0].check(HandshakeError)
        assert done[0].value.status == 403


class Feed(ClientProtocol):
    """A behaviour that talks when it is open."""

    client: Any = "its own"
    got: list[Any] = []

    def onOpen(self) -> None:
        self.sendMessage(b"subscribe")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.got.append(payload)


class TestCallbacks:
    def test_each_connection_calls_back(self) -> None:
        Feed.got = []
        client = Client(Feed)
        server = client.accepted()
        assert server.frames() == [(TEXT, b"subscribe")]
        server.send(texts("one"))
        closes(server)
        second = client.again()
        assert second.frames() == [(TEXT, b"subscribe")]
        second.send(texts("two"))
        assert Feed.got == [b"one", b"two"]
        connection = client.client.connection
        assert isinstance(connection, Feed)
        assert connection.client == "its own"
        assert type(connection).__name__ == "Feed"

    def test_what_is_kept_is_sent_after_what_on_open_sends(self) -> None:
        client = Client(Feed)
        client.client.send("kept")
        assert client.accepted().frames() == [(TEXT, b"subscribe"), (TEXT, b"kept")]

    def test_messages_are_not_to_be_read_besides(self) -> None:
        with pytest.raises(RuntimeError, match=r"messages go to Feed\.onMessage"):
            Client(Feed).client.recv()


class TestSending:
    def test_what_cannot_be_sent_yet_is_kept_and_sent_in_order(self, client: Client) -> None:
        sending = [outcome(client.client.send(each)) for each in ("one", b"two")]
        assert sending == [[None], [None]]
        server = client.accepted()
        client.client.send("three")
        assert server.frames() == [(TEXT, b"one"), (2, b"two"), (TEXT, b"three")]

    def test_it_is_kept_while_there_is_no_connection(self, client: Client) -> None:
        client.accepted().lose(error.ConnectionLost())
        client.client.send("one")
        client.client.send("two")
        assert client.again().frames() == [(TEXT, b"one"), (TEXT, b"two")]

    def test_more_than_the_send_buffer_waits(self) -> None:
        client = Client(send_buffer=1000)
        sending = [outcome(client.client.send("x" * 500)) for _ in range(3)]
        assert sending == [[None], [None], []]
        client.accepted()
        assert sending[-1] == [None]

    def test_what_a_slow_server_did_not_take_goes_to_the_next(self, client: Client) -> None:
        server = client.accepted()
        assert client.client.connection is not None
        client.client.connection.pauseProducing()
        for each in ("one", "two", "three"):
            client.client.send(each)
        assert server.frames() == []
        server.lose(error.ConnectionLost())
        sent = [(TEXT, b"one"), (TEXT, b"two"), (TEXT, b"three")]
        assert client.again().frames() == sent

    def test_one_that_fills_the_send_buffer_is_no_reason_to_close(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = Client(send_buffer=1000)
        server = client.accepted()
        connection = client.client.connection
        assert connection is not None
        write = connection._queue._write

        def has_enough(octets: bytes) -> None:
            write(octets)
            connection.pauseProducing()

        with monkeypatch.context() as patch:
            patch.setattr(connection._queue, "_write", has_enough)
            client.client.send("x" * 5000)
        client.client.send("next")
        assert server.frames() == [(TEXT, b"x" * 5000)]
        connection.resumeProducing()
        assert server.frames() == [(TEXT, b"next")]

    def test_a_slow_server_is_gone_on_with(self, client: Client) -> None:
        server = client.accepted()
        connection = client.client.connection
        assert connection is not None
        connection.pauseProducing()
        for each in ("one", "two", "three"):
            client.client.send(each)
        connection.resumeProducing()
        assert [payload for _, payload in server.frames()] == [b"one", b"two", b"three"]

    def test_what_is_no_message_is_refused(self, client: Client) -> None:
        with pytest.raises(TypeError):
            client.client.send(None)  # type: ignore[arg-type]


class TestLost:
    def test_what_may_not_have_arrived_is_told(self, client: Client, logged: Logged) -> None:
        server = client.accepted()
        client.client.send("one")
        client.client.send("two")
        server.lose(error.ConnectionLost())
        assert "[127.0.0.1:8080] 2 messages may have been lost" in logged.text

    def test_it_can_be_told_to_a_subclass(self, logged: Logged) -> None:
        told: list[Any] = []

        class Mine(ReconnectingClient):
            def may_be_lost(self, count: int) -> None:
                told.append(count)

            def retrying(self, error: Exception, delay: float) -> None:
                told.append((type(error), delay < 1))

        reactor = MemoryReactorClock()
        client = Mine(URL, reactor=reactor)
        client.startService()
        server = reached(reactor).accept()
        client.send("one")
        server.lose(error.ConnectionLost())
        reactor.advance(0)
        assert told == [1, (ConnectionClosed, True)]
        assert "may have been lost" not in logged.text

    def test_a_pong_tells_that_it_arrived(self, client: Client, logged: Logged) -> None:
        server = client.accepted()
        client.client.send("one")
        client.reactor.advance(1)
        (_, (opcode, payload)) = server.frames()
        assert opcode == PING
        server.send(frame(PONG, payload, masked=False))
        server.lose(error.ConnectionLost())
        assert "may have been lost" not in logged.text

    def test_so_does_an_answer_to_our_close(self, client: Client, logged: Logged) -> None:
        server = client.accepted()
        client.client.send("one")
        client.client.stopService()
        closes(server)
        assert "may have been lost" not in logged.text

    def test_but_not_a_close_of_the_servers_own(self, client: Client, logged: Logged) -> None:
        server = client.accepted()
        client.client.send("one")
        closes(server)
        assert "1 message may have been lost" in logged.text


class TestWaiting:
    def test_for_a_connection(self, client: Client) -> None:
        connected = outcome(client.client.when_connected())
        assert connected == []
        client.accepted()
        assert connected == [client.client.connection]
        assert outcome(client.client.when_connected()) == connected

    def test_in_vain(self, client: Client) -> None:
        waiting = client.client.when_connected()
        result = outcome(waiting)
        waiting.cancel()
        client.accepted()
        assert result[0].check(CancelledError)

    def test_for_all_to_be_sent(self, client: Client) -> None:
        assert outcome(client.client.when_sent()) == [None]
        client.client.send("one")
        sent = outcome(client.client.when_sent())
        assert sent == []
        client.accepted()
        assert sent == [None]

    def test_for_what_will_not_be_sent(self, client: Client) -> None:
        client.client.send("one")
        sent = outcome(client.client.when_sent())
        client.stop()
        for each in (sent, outcome(client.client.when_sent())):
            assert each[0].check(ConnectionClosed)

    def test_for_its_end(self, client: Client) -> None:
        ended = outcome(client.client.when_ended())
        connected = outcome(client.client.when_connected())
        client.client.stopService()
        assert ended == [None]
        assert connected[0].check(ConnectionClosed)
        assert outcome(client.client.when_ended()) == [None]

    def test_for_its_failure(self, client: Client, logged: Logged) -> None:
        asked: list[Any] = [client.client.when_ended(), client.client.when_connected()]
        outcomes = [outcome(each) for each in asked]
        waiting = outcome(client.client.recv())
        client.refused(b"401 Who\r\nWWW-Authenticate: Basic")
        outcomes += [waiting, outcome(client.client.send("x")), outcome(client.client.recv())]
        errors = [each[0].value for each in outcomes]
        assert {(type(each), each.status) for each in errors} == {(HandshakeError, 401)}
        assert len(set(map(id, errors))) == 5
        assert "401 Who; log in by --auth or --bearer; gave up" in logged.text
        assert not client.client.running
        assert client.stop() == [None]


class TestStopping:
    def test_what_is_kept_is_sent_before_the_close(self, client: Client) -> None:
        server = client.accepted()
        connection = client.client.connection
        assert connection is not None
        connection.pauseProducing()
        for each in ("one", "two"):
            client.client.send(each)
        stopped = client.stop()
        assert server.frames() == []
        connection.resumeProducing()
        assert server.frames() == [
            (TEXT, b"one"),
            (TEXT, b"two"),
            (CLOSE, close_payload(1000)),
        ]
        assert stopped == []
        closes(server)
        assert stopped == [None]

    def test_a_server_that_takes_nothing_has_the_close_timeout_for_it(self, logged: Logged) -> None:
        client = Client(close_timeout=3)
        server = client.accepted()
        connection = client.client.connection
        assert connection is not None
        client.client.send("one")
        connection.pauseProducing()
        client.client.send("two")
        stopped = client.stop()
        for _ in range(2):
            client.reactor.advance(3)
        assert server.aborted
        server.lose(error.ConnectionLost())
        assert stopped == [None]
        assert "1 message may have been lost" in logged.text
        assert "not sent: 1 message" in logged.text

    def test_a_connection_lost_meanwhile_is_the_end(self, client: Client, logged: Logged) -> None:
        server = client.accepted()
        connection = client.client.connection
        assert connection is not None
        connection.pauseProducing()
        for each in ("one", "two"):
            client.client.send(each)
        stopped = client.stop()
        server.lose(error.ConnectionLost())
        assert stopped == [None]
        assert len(client.reactor.tcpClients) == 1
        client.reactor.advance(100)
        assert len(client.reactor.tcpClients) == 1

    def test_with_no_connection_what_is_kept_is_told(self, client: Client, logged: Logged) -> None:
        client.client.send("one")
        assert client.stop() == [None]
        assert "not sent: 1 message" in logged.text

    def test_more_than_once_does_no_harm(self, client: Client) -> None:
        server = client.accepted()
        stopped = [client.stop() for _ in range(2)]
        assert stopped == [[], []]
        closes(server)
        assert [*stopped, client.stop()] == [[None]] * 3

    def test_what_waits_to_be_read_does_not_hide_the_servers_answer(self, client: Client) -> None:
        server = client.accepted()
        server.send(texts("x" * LIMIT, "y"))
        stopped = client.stop()
        closes(server)
        assert stopped == [None]
        read: list[Any] = []
        assert run(client.read(read)) == [None]
        assert read == ["x" * LIMIT]

    def test_nothing_more_can_be_sent(self, client: Client) -> None:
        server = client.accepted()
        client.stop()
        for _ in range(2):
            (failure,) = outcome(client.client.send("x"))
            assert failure.check(ConnectionClosed)
            assert str(failure.value) == "the client was stopped"
            closes(server)

    def test_it_can_be_started_again(self, client: Client) -> None:
        closes(client.accepted())
        client.stop()
        client.client.startService()
        client.client.send("again")
        server = client.accepted()
        assert server.frames() == [(TEXT, b"again")]
        server.send(texts("yes"))
        assert outcome(client.client.recv()) == ["yes"]

    def test_a_with_block_starts_and_stops_it(self) -> None:
        reactor = MemoryReactorClock()

        async def block() -> None:
            async with ReconnectingClient(URL, reactor=reactor) as client:
                raise KeyError(await client.recv())

        done = run(block())
        server = reached(reactor).accept()
        server.taken()
        server.send(texts("one"))
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert done == []
        closes(server)
        assert done[0].check(KeyError)
