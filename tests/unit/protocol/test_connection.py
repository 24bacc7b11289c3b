"""The parts that server and client share, tested at a server's connection."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from autobahn.exception import Disconnected
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionLost

from wsservice.protocol.sending import Sent
from wsservice.server.behaviours import ServerProtocol

from ...support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    Logged,
    Served,
    close_payload,
    frame,
    opening_request,
)

HOSTILE = "a\r\n2026-01-01 Message received: forged\x1b[2J"
ESCAPED = r"a\r\n2026-01-01 Message received: forged\x1b[2J"
FAILED = (CLOSE, close_payload(1011))


class Recorder(ServerProtocol):
    """Writes down what it is called with. `waiting` holds what a callback waits for."""

    calls: list[Any]
    waiting: list[Deferred[None]]

    def connectionMade(self) -> None:
        self.calls = []
        self.waiting = []
        super().connectionMade()

    def wait(self) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def proceed(self) -> None:
        self.waiting.pop(0).callback(None)


class Plain(Recorder):
    def onConnect(self, request: Any) -> None:
        self.calls.append("connect")

    def onOpen(self) -> None:
        self.calls.append("open")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append((payload, isBinary))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.calls.append((wasClean, code, reason))


class Async(Recorder):
    async def onConnect(self, request: Any) -> None:  # type: ignore[override]
        self.calls.append("connect")

    async def onOpen(self) -> None:  # type: ignore[override]
        self.calls.append("open")

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:  # type: ignore[override]
        self.calls.append((payload, isBinary))

    async def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # type: ignore[override]
        self.calls.append((wasClean, code, reason))


class Deferring(Recorder):
    def onConnect(self, request: Any) -> Any:
        self.calls.append("connect")
        return succeed(None)

    def onOpen(self) -> Any:
        self.calls.append("open")
        return succeed(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self.calls.append((payload, isBinary))
        return succeed(None)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> Any:
        self.calls.append((wasClean, code, reason))
        return succeed(None)


@pytest.mark.parametrize("behaviour", [Plain, Async, Deferring])
def test_callbacks_may_be_plain_async_or_return_a_deferred(
    behaviour: type[Recorder], logged: Logged
) -> None:
    client = Served(behaviour).connect().open()
    client.text("hi")
    client.send(frame(BINARY, b"\0"))
    client.close()
    client.lose()
    assert client.protocol.calls == [
        "connect",
        "open",
        (b"hi", False),
        (b"\0", True),
        (True, 1000, None),
    ]
    assert logged.events == []


class Slow(Recorder):
    """Takes its time, in each callback, until told to proceed."""

    async def onOpen(self) -> None:  # type: ignore[override]
        self.calls.append("open")
        await self.wait()
        self.calls.append("opened")

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:  # type: ignore[override]
        self.calls.append(payload)
        await self.wait()
        self.calls.append("done")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.calls.append("closed")

    def onPing(self, payload: bytes) -> None:
        self.calls.append("ping")
        super().onPing(payload)


class TestOneAfterAnother:
    def test_the_next_callback_is_called_when_the_one_before_is_done(self) -> None:
        client = Served(Slow).connect().open()
        protocol = client.protocol
        client.text("1")
        client.text("2")
        assert protocol.calls == ["open"]
        protocol.proceed()
        assert protocol.calls == ["open", "opened", b"1"]
        protocol.proceed()
        protocol.proceed()
        assert protocol.calls == ["open", "opened", b"1", "done", b"2", "done"]

    def test_the_end_is_told_after_the_messages_before_it(self) -> None:
        client = Served(Slow).connect().open()
        protocol = client.protocol
        client.text("1")
        client.close()
        client.lose()
        assert protocol.calls == ["open"]
        protocol.proceed()
        protocol.proceed()
        assert protocol.calls == ["open", "opened", b"1", "done", "closed"]

    def test_a_ping_is_answered_without_waiting(self) -> None:
        client = Served(Slow).connect().open()
        client.send(frame(PING, b"p"))
        assert client.protocol.calls == ["open", "ping"]
        assert client.frames() == [(PONG, b"p")]

    def test_many_messages_that_waited_are_worked_off_without_recursion(self) -> None:
        class FirstSlow(Plain):
            def onOpen(self) -> Any:
                return self.wait()

        client = Served(FirstSlow).connect().open()
        client.send(frame(TEXT, b"x") * 3000)
        client.protocol.proceed()
        assert len(client.protocol.calls) == 3001

    def test_reading_pauses_while_too_many_messages_wait(self) -> None:
        client = Served(Slow).connect().open()
        for _ in range(16):
            client.text("x")
        assert not client.transport.is_paused()
        client.text("x")
        assert client.transport.is_paused()
        for _ in range(17):
            client.protocol.proceed()
            assert client.transport.is_paused() == bool(client.protocol._reader.callbacks.calls)
        assert not client.transport.is_paused()

    def test_reading_pauses_while_too_many_octets_wait(self) -> None:
        client = Served(Slow).connect().open()
        client.send(frame(BINARY, bytes(64 * 1024)))
        assert not client.transport.is_paused()
        client.send(frame(BINARY, b"\0"))
        assert client.transport.is_paused()
        client.protocol.proceed()
        client.protocol.proceed()
        assert not client.transport.is_paused()
        # What was worked off counts no more.
        client.send(frame(BINARY, bytes(64 * 1024)))
        assert not client.transport.is_paused()

    def test_a_connection_lost_while_reading_was_paused_is_not_resumed(self) -> None:
        client = Served(Slow).connect().open()
        client.send(frame(TEXT, b"x") * 20)
        client.lose()
        while client.protocol.waiting:
            client.protocol.proceed()
        assert client.protocol.calls[-1] == "closed"
        assert client.transport.is_paused()


def fail_plainly(*_: object) -> Any:
    raise ValueError(HOSTILE)


async def fail_in_coroutine(*_: object) -> Any:
    await succeed(None)
    raise ValueError(HOSTILE)


def fail_in_deferred(*_: object) -> Any:
    return succeed(None).addCallback(fail_plainly)


@pytest.mark.parametrize("fail", [fail_plainly, fail_in_coroutine, fail_in_deferred])
class TestFailures:
    def logged_once(self, logged: Logged) -> None:
        (text,) = logged.failures
        assert "a callback failed" in text
        assert "Traceback (most recent call last)" in text
        assert f"builtins.ValueError: {ESCAPED}" in text.splitlines()

    @pytest.mark.parametrize("name", ["onOpen", "onMessage", "onPing", "onPong"])
    def test_one_is_logged_and_closes_the_connection_telling_nothing(
        self, fail: Any, name: str, logged: Logged
    ) -> None:
        served = Served(type("Failing", (ServerProtocol,), {name: lambda *_: fail()}))
        client = served.connect().open()
        opcode = {"onPing": PING, "onPong": PONG}.get(name, TEXT)
        client.send(frame(opcode, b"x"))
        assert client.frames() == [FAILED]
        client.close(1011)
        client.lose()
        self.logged_once(logged)
        assert len(served.hub) == 0

    def test_nobody_else_notices(self, fail: Any) -> None:
        class FailsOnce(ServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> Any:
                return fail() if payload == b"fail" else self.broadcast(payload)

        served = Served(FailsOnce)
        victim, other = served.connect().open(), served.connect().open()
        victim.text("fail")
        other.text("well?")
        assert victim.frames() == [FAILED]
        assert other.frames() == [(TEXT, b"well?")]

    def test_one_in_on_close_is_logged_and_the_connection_still_counted_out(
        self, fail: Any, logged: Logged
    ) -> None:
        served = Served(type("Failing", (ServerProtocol,), {"onClose": lambda *_: fail()}))
        client = served.connect().open()
        client.close()
        client.lose()
        self.logged_once(logged)
        assert len(served.hub) == 0
        assert served.hub._channels == {}

    def test_what_waited_behind_one_is_dropped_but_the_end_is_told(
        self, fail: Any, logged: Logged
    ) -> None:
        class Failing(Recorder):
            def onOpen(self) -> Any:
                return self.wait().addCallback(lambda _: maybeDeferred(fail))

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.calls.append(payload)

            def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
                self.calls.append("closed")

        client = Served(Failing).connect().open()
        client.text("1")
        client.protocol.proceed()
        assert client.frames() == [FAILED]
        client.text("2")
        client.close(1011)
        client.lose()
        assert client.protocol.calls == ["closed"]

    def test_one_after_the_connection_ended_is_logged(self, fail: Any, logged: Logged) -> None:
        class Failing(Recorder):
            def onOpen(self) -> Any:
                return self.wait().addCallback(lambda _: maybeDeferred(fail))

            def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
                self.calls.append("closed")

        client = Served(Failing).connect().open()
        client.lose()
        client.protocol.proceed()
        self.logged_once(logged)
        assert client.protocol.calls == ["closed"]


def test_a_fault_of_the_state_machine_itself_closes_that_connection_only(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Served().connect().open()
    monkeypatch.setattr(client.protocol, "processData", fail_plainly)
    client.send(frame(PING))
    assert client.frames() == [FAILED]
    assert len(logged.failures) == 1


class TestSending:
    def test_an_open_connection_takes_a_message(self) -> None:
        client = Served().connect().open()
        assert client.protocol.sendMessage(b"text") is Sent.SENT
        assert client.protocol.sendMessage(b"\0", True) is Sent.SENT
        assert client.frames() == [(TEXT, b"text"), (BINARY, b"\0")]

    def test_a_closing_or_closed_one_says_that_it_does_not(self) -> None:
        client = Served().connect().open()
        client.protocol.sendClose()
        client.taken()
        assert client.protocol.sendMessage(b"x") is Sent.CLOSED
        client.lose()
        assert client.protocol.sendMessage(b"x") is Sent.CLOSED
        assert client.taken() == b""

    @pytest.mark.parametrize("payload", ["text", bytearray(b"x"), memoryview(b"x"), None, 1])
    def test_what_is_not_bytes_is_a_type_error(self, payload: object) -> None:
        client = Served().connect().open()
        with pytest.raises(TypeError, match=f"not {type(payload).__name__}"):
            client.protocol.sendMessage(payload)
        client.protocol.sendClose()
        with pytest.raises(TypeError):
            client.protocol.sendMessage(payload)

    def test_one_that_is_not_open_yet_raises(self) -> None:
        client = Served().connect()
        with pytest.raises(Disconnected):
            client.protocol.sendMessage(b"x")

    def test_a_message_may_be_larger_than_one_that_is_taken(self) -> None:
        client = Served(max_message_size=20).connect().open()
        assert client.protocol.sendMessage(b"x" * 1000)
        assert client.frames() == [(TEXT, b"x" * 1000)]
        # And what may come in is limited as before.
        client.send(frame(TEXT, b"x" * 21))
        assert client.frames()[0][1][:2] == close_payload(1009)


class TestSizeLimit:
    LIMIT = 20

    @pytest.fixture
    def client(self) -> Client:
        return Served(Plain, max_message_size=self.LIMIT).connect().open()

    def test_a_message_exactly_at_the_limit_arrives(self, client: Client) -> None:
        client.send(frame(TEXT, b"x" * self.LIMIT))
        assert client.protocol.calls[-1] == (b"x" * self.LIMIT, False)

    @pytest.mark.parametrize("more", [1, 2, 1000])
    def test_a_larger_one_is_closed_with_1009(self, client: Client, more: int) -> None:
        client.send(frame(TEXT, b"x" * (self.LIMIT + more)))
        ((opcode, payload),) = client.frames()
        assert (opcode, payload[:2]) == (CLOSE, close_payload(1009))
        assert client.protocol.calls == ["connect", "open"]

    def test_fragments_are_counted_together(self, client: Client) -> None:
        client.send(frame(TEXT, b"x" * 15, fin=False) + frame(0, b"x" * 15))
        assert client.frames()[0][1][:2] == close_payload(1009)

    def test_one_is_closed_before_it_is_there(self, client: Client) -> None:
        client.send(frame(TEXT, b"x" * 1000)[:10])
        assert client.frames()[0][1][:2] == close_payload(1009)

    @pytest.mark.parametrize("first", [b"", frame(TEXT, b"x" * 15, fin=False)])
    def test_a_header_that_proves_one_octet_too_many_is_enough(
        self, client: Client, first: bytes
    ) -> None:
        size = self.LIMIT + 1 - len(first and b"x" * 15)
        client.send(first + frame(0 if first else TEXT, b"x" * size)[:6])
        assert client.frames()[0][1][:2] == close_payload(1009)

    def test_0_is_no_limit(self) -> None:
        client = Served(Plain, max_message_size=0).connect().open()
        client.send(frame(BINARY, bytes(2_000_000)))
        assert client.protocol.calls[-1] == (bytes(2_000_000), True)


class TestEnd:
    def test_a_peer_that_never_answers_a_close_is_aborted_after_the_close_timeout(self) -> None:
        served = Served(close_timeout=3)
        client = served.connect().open()
        client.protocol.sendClose(1000)
        served.clock.advance(2.9)
        assert not client.dropped
        served.clock.advance(0.2)
        assert client.aborted

    def test_a_peer_that_does_not_drop_tcp_is_aborted_after_the_close_timeout(self) -> None:
        served = Served(close_timeout=3)
        client = served.connect().open()
        client.close()
        assert client.frames() == [(CLOSE, close_payload(1000))]
        assert client.dropped
        served.clock.advance(2.9)
        assert not client.aborted
        served.clock.advance(0.2)
        assert client.aborted

    def test_a_refused_peer_that_does_not_drop_tcp_is_aborted_too(self) -> None:
        served = Served(close_timeout=3)
        client = served.connect()
        assert client.ask("/", "Origin: nonsense") != b""
        assert not client.aborted
        served.clock.advance(3)
        assert client.aborted

    def test_with_a_close_timeout_of_0_nobody_is_aborted(self) -> None:
        served = Served(close_timeout=0)
        for end in (Client.close, lambda client: client.protocol.sendClose()):
            client = served.connect().open()
            end(client)
            served.clock.advance(10000)
            assert not client.aborted

    def test_a_connection_that_is_over_leaves_no_timer(self) -> None:
        served = Served()
        for end in (
            lambda client: None,
            Client.close,
            lambda client: client.protocol.sendClose(),
            lambda client: client.ask("/"),
        ):
            client = served.connect()
            if end is not None:
                client.open()
            end(client)
            client.lose()
        served.connect().lose()
        assert served.clock.getDelayedCalls() == []

    def test_one_lost_without_a_close_frame_is_told_as_1006(self) -> None:
        client = Served(Plain).connect().open()
        client.lose(ConnectionLost())
        assert client.protocol.calls[-1][:2] == (False, 1006)

    def test_the_end_is_not_told_where_the_beginning_was_not(self) -> None:
        for octets in (b"", b"GET", b"nonsense\r\n\r\n"):
            client = Served(Plain).connect()
            client.send(octets)
            client.lose()
            assert client.protocol.calls == []

    @pytest.fixture
    def without_collector(self) -> Iterator[None]:
        gc.disable()
        yield
        gc.enable()

    @pytest.mark.usefixtures("without_collector")
    @pytest.mark.parametrize("behaviour", [ServerProtocol, Plain, Async, Deferring])
    @pytest.mark.parametrize("end", ["lost", "closed", "refused", "aborted"])
    def test_a_closed_connection_is_freed_at_once(
        self, behaviour: type[ServerProtocol], end: str
    ) -> None:
        served = Served(behaviour)
        protocol: Any = served.factory.buildProtocol(None)
        client = Client(protocol)
        if end == "refused":
            client.send(opening_request(key=None))
        else:
            client.open()
            client.text("x")
        if end == "closed":
            client.close()
        if end == "aborted":
            protocol.sendClose()
            served.clock.advance(100)
        client.lose()
        freed = weakref.ref(protocol)
        del protocol, client
        assert freed() is None
