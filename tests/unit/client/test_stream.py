"""A stream, on a connection in memory."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from wsservice.client.inbox import LIMIT
from wsservice.client.stream import ClientConnection
from wsservice.errors import ConnectionClosed
from wsservice.protocol.connection import Connection

from ...support import BINARY, CLOSE, TEXT, Connecting, Logged, Server, close_payload, frame


class Stream:
    """An open stream, and its server."""

    def __init__(self, **settings: Any) -> None:
        self.connecting = Connecting(ClientConnection, **settings)
        self.server: Server = self.connecting.server.accept()
        self.server.taken()
        self.connection: ClientConnection = self.connecting.protocol

    def says(self, *messages: str | bytes) -> None:
        """The server sends these, in one go."""
        self.server.send(
            b"".join(
                frame(TEXT, each.encode(), masked=False)
                if isinstance(each, str)
                else frame(BINARY, each, masked=False)
                for each in messages
            )
        )

    def closes(self, code: int | None = 1000, reason: bytes = b"") -> None:
        payload = b"" if code is None else close_payload(code, reason)
        self.server.send(frame(CLOSE, payload, masked=False))
        self.server.lose()

    async def read(self, into: list[Any]) -> None:
        async for message in self.connection:
            into.append(message)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def run(coroutine: Coroutine[Deferred[Any], Any, Any]) -> list[Any]:
    """Run a coroutine, and return a list for its outcome."""
    return outcome(Deferred.fromCoroutine(coroutine))


def outcome(deferred: Deferred[Any]) -> list[Any]:
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    return outcome


def closed(outcome: list[Any]) -> ConnectionClosed:
    (failure,) = outcome
    error = failure.value
    assert isinstance(error, ConnectionClosed)
    assert str(error).isprintable()
    return error


class TestReading:
    def test_text_is_str_and_binary_is_bytes_in_order(self, stream: Stream) -> None:
        read: list[Any] = []
        run(stream.read(read))
        stream.says("zwölf", b"\xff\0", "")
        stream.says("more")
        assert read == ["zwölf", b"\xff\0", "", "more"]

    def test_what_came_before_it_was_asked_for_waits(self, stream: Stream) -> None:
        stream.says("one", "two")
        assert outcome(stream.connection.recv()) == ["one"]
        read: list[Any] = []
        run(stream.read(read))
        assert read == ["two"]

    @pytest.mark.parametrize("code", [1000, 1001, None])
    def test_a_close_in_order_ends_the_loop(self, stream: Stream, code: int | None) -> None:
        read: list[Any] = []
        done = run(stream.read(read))
        stream.says("last")
        stream.closes(code)
        assert (read, done) == (["last"], [None])

    @pytest.mark.parametrize(
        ("code", "reason", "said"),
        [
            (1011, b"", "the server closed with 1011"),
            (4001, b"a\n\x1b[2J", r"the server closed with 4001 (a\n\x1b[2J)"),
        ],
    )
    def test_any_other_close_is_raised(
        self, stream: Stream, code: int, reason: bytes, said: str
    ) -> None:
        done = run(stream.read([]))
        stream.closes(code, reason)
        error = closed(done)
        assert (error.code, error.reason.encode()) == (code, reason)
        assert (str(error), error.in_order) == (said, False)

    def test_a_loss_is_raised(self, stream: Stream) -> None:
        done = run(stream.read([]))
        stream.server.lose(ConnectionLost())
        error = closed(done)
        assert (error.code, error.reason) == (1006, "")
        assert str(error) == "the connection was lost without a close frame"

    def test_what_fails_at_the_end_does_not_hide_it(
        self, stream: Stream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> None:
            raise KeyError("ours")

        read, pinged = run(stream.read([])), outcome(stream.connection.ping())
        monkeypatch.setattr(Connection, "connectionLost", fails)
        with pytest.raises(KeyError):
            stream.server.lose(ConnectionLost())
        assert [each[0].type for each in (read, pinged)] == [ConnectionClosed] * 2

    def test_what_came_before_the_end_is_read_first(self, stream: Stream) -> None:
        stream.says("one", "two")
        stream.server.lose(ConnectionLost())
        read: list[Any] = []
        done = run(stream.read(read))
        assert read == ["one", "two"]
        closed(done)

    def test_recv_raises_at_a_close_in_order_too(self, stream: Stream) -> None:
        waiting = outcome(stream.connection.recv())
        stream.closes(1000)
        assert closed(waiting).code == 1000
        assert closed(outcome(stream.connection.recv())).in_order

    def test_a_server_that_breaks_a_rule_is_told_why(self) -> None:
        stream = Stream(max_message_size=3)
        done = run(stream.read([]))
        stream.says("four")
        stream.server.lose()
        error = closed(done)
        assert (error.code, error.reason) == (1009, "message too big")
        assert str(error) == "closed with 1009 (message too big)"

    def test_a_server_that_gives_no_sign_of_life_is_lost(self) -> None:
        stream = Stream(ping_interval=3, ping_timeout=3)
        done = run(stream.read([]))
        for _ in range(2):
            stream.connecting.clock.advance(3)
        assert stream.server.frames()[-1] == (CLOSE, close_payload(1011, b"keepalive ping timeout"))
        stream.connecting.clock.advance(5)
        assert stream.server.aborted
        stream.server.lose()
        error = closed(done)
        assert (error.code, str(error)) == (1011, "closed with 1011 (keepalive ping timeout)")

    def test_a_loop_that_is_cancelled_loses_nothing(self, stream: Stream) -> None:
        read: list[Any] = []
        loop = Deferred.fromCoroutine(stream.read(read))
        result = outcome(loop)
        stream.says("one")
        loop.cancel()
        assert result[0].check(CancelledError)
        stream.says("two")
        run(stream.read(read))
        assert read == ["one", "two"]

    def test_a_second_reader_is_told_so(self, stream: Stream) -> None:
        read: list[Any] = []
        run(stream.read(read))
        (failure,) = run(stream.read([]))
        assert failure.check(RuntimeError)
        stream.says("one")
        assert read == ["one"]

    def test_the_server_is_not_read_while_enough_waits(self, stream: Stream) -> None:
        sent = [str(number) * 1000 for number in range(200)]
        stream.says(*sent)
        assert stream.server.transport.is_paused()
        assert stream.connection._inbox._size < 2 * LIMIT
        read: list[Any] = []
        run(stream.read(read))
        assert read == sent
        assert not stream.server.transport.is_paused()

    def test_a_close_behind_what_waits_is_seen_when_that_was_read(self, stream: Stream) -> None:
        sent = [str(number) * 1000 for number in range(200)]
        stream.says(*sent)
        stream.server.send(frame(CLOSE, close_payload(4000), masked=False))
        read: list[Any] = []
        done = run(stream.read(read))
        assert read == sent
        stream.server.lose()
        assert closed(done).code == 4000


class TestSending:
    def test_str_is_text_and_bytes_are_binary(self, stream: Stream) -> None:
        assert outcome(stream.connection.send("zwölf")) == [None]
        assert outcome(stream.connection.send(b"\xff")) == [None]
        assert stream.server.frames() == [(TEXT, "zwölf".encode()), (BINARY, b"\xff")]

    @pytest.mark.parametrize("message", [1, None, bytearray(b"x")])
    def test_anything_else_is_refused(self, stream: Stream, message: Any) -> None:
        with pytest.raises(TypeError, match="a message is str or bytes, not "):
            stream.connection.send(message)
        with pytest.raises(UnicodeEncodeError):
            stream.connection.send("\udcff")
        assert stream.server.frames() == []

    def test_it_waits_while_half_of_the_send_buffer_does(self) -> None:
        stream = Stream(send_buffer=4096)
        stream.connection.pauseProducing()
        first = [outcome(stream.connection.send(b"x" * 1000)) for _ in range(2)]
        later = [outcome(stream.connection.send(each)) for each in ("a", "b")]
        assert (first, later) == ([[None], [None]], [[], []])
        stream.connection.resumeProducing()
        assert later == [[None], [None]]
        assert [payload for _, payload in stream.server.frames()][2:] == [b"a", b"b"]

    def test_one_that_is_cancelled_is_not_sent(self) -> None:
        stream = Stream(send_buffer=4096)
        stream.connection.pauseProducing()
        for _ in range(2):
            stream.connection.send(b"x" * 1000)
        sending = stream.connection.send("cancelled")
        result = outcome(sending)
        sending.cancel()
        assert result[0].check(CancelledError)
        stream.connection.resumeProducing()
        assert len(stream.server.frames()) == 2

    def test_it_fails_once_the_server_closed(self, stream: Stream) -> None:
        stream.server.send(frame(CLOSE, close_payload(4000), masked=False))
        assert closed(outcome(stream.connection.send("x"))).code == 4000
        stream.server.lose()
        assert closed(outcome(stream.connection.send("x"))).code == 4000

    def test_who_waits_is_told_that_it_is_lost(self) -> None:
        stream = Stream(send_buffer=4096)
        stream.connection.pauseProducing()
        sending = [outcome(stream.connection.send(b"x" * 1000)) for _ in range(3)][-1]
        stream.server.lose(ConnectionLost())
        assert closed(sending).code == 1006


class TestClosing:
    def test_it_fires_when_the_connection_is_over(self, stream: Stream) -> None:
        closing = [outcome(stream.connection.close(4000, "enough")) for _ in range(2)]
        assert stream.server.frames() == [(CLOSE, close_payload(4000, b"enough"))]
        assert closing == [[], []]
        stream.closes(4000)
        assert closing == [[None], [None]]
        assert outcome(stream.connection.close()) == [None]

    def test_a_loop_ends_when_this_end_closed(self, stream: Stream) -> None:
        done = run(stream.read([]))
        stream.connection.close(4000)
        assert closed(outcome(stream.connection.send("x"))).in_order
        stream.closes(4000)
        assert done == [None]
        error = closed(outcome(stream.connection.recv()))
        assert (error.code, str(error)) == (4000, "the connection was closed with 4000")

    def test_a_server_that_never_answers_is_given_up(self) -> None:
        stream = Stream(close_timeout=3)
        closing = outcome(stream.connection.close())
        stream.connecting.clock.advance(3)
        assert stream.server.aborted
        stream.server.lose(ConnectionLost())
        assert closing == [None]
        error = closed(outcome(stream.connection.recv()))
        assert (error.code, str(error)) == (1006, "the server did not answer our close")

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 2999, 5000])
    def test_a_code_that_is_not_for_applications_is_refused(
        self, stream: Stream, code: int
    ) -> None:
        with pytest.raises(ValueError, match=f"close code {code} is not allowed; give 1000"):
            stream.connection.close(code)
        assert stream.server.frames() == []

    def test_a_reason_that_is_too_long_is_refused(self, stream: Stream) -> None:
        with pytest.raises(ValueError, match="124 octets is not allowed; give at most 123"):
            stream.connection.close(1000, "ä" * 62)
        assert stream.server.frames() == []

    def test_it_can_be_waited_for_in_vain(self, stream: Stream) -> None:
        closing = stream.connection.close()
        result = outcome(closing)
        closing.cancel()
        stream.closes()
        assert result[0].check(CancelledError)

    def test_what_waits_to_be_read_does_not_hide_the_answer(
        self, stream: Stream, logged: Logged
    ) -> None:
        sent = [str(number) * 1000 for number in range(200)]
        stream.says(*sent)
        closing = outcome(stream.connection.close())
        stream.closes()
        assert closing == [None]
        # What the reader was promised it gets; memory is bounded all the same.
        read: list[Any] = []
        assert run(stream.read(read)) == [None]
        assert read == sent[: len(read)]
        assert LIMIT / 2 < sum(map(len, read)) <= LIMIT + 3000
        said = f"dropped because they came after close(): {len(sent) - len(read)}"
        assert said in logged.text

    def test_who_waits_to_send_is_told(self) -> None:
        stream = Stream(send_buffer=4096)
        stream.connection.pauseProducing()
        sending = [outcome(stream.connection.send(b"x" * 1000)) for _ in range(3)][-1]
        stream.connection.close()
        assert str(closed(sending)) == "the connection is closing"

    def test_a_with_block_closes(self, stream: Stream) -> None:
        async def block() -> None:
            async with stream.connection as connection:
                assert connection is stream.connection
                raise KeyError("mine")

        done = run(block())
        assert stream.server.frames() == [(CLOSE, close_payload(1000))]
        assert done == []
        stream.closes()
        assert done[0].check(KeyError)
