"""The program's session where it is to stay connected, on connections in memory."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsservice.net.backoff import Backoff

from ...support import CLOSE, PING, PONG, TEXT, close_payload, frame
from .test_session import URL, Capture, Face, Run, _terminal, text

__all__ = ["_terminal"]

LOST = "the connection was lost without a close frame"


@pytest.fixture(autouse=True)
def _longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each delay is the longest that it may be: one second, two, four."""
    monkeypatch.setattr("wsservice.client.staying.Backoff", lambda: Backoff(lambda: 1.0))


class Stay(Run):
    """A session that stays."""

    def __init__(self, *options: str, face: Any = None) -> None:
        super().__init__(URL, "--reconnect", *options, face=face)

    def lose(self) -> None:
        self.server.lose(error.ConnectionLost())
        self.reactor.advance(0)

    def unreachable(self) -> None:
        factory, connector = self.reactor.tcpClients[-1][2], self.reactor.connectors[-1]
        factory.clientConnectionFailed(connector, Failure(error.ConnectionRefusedError(111)))
        self.reactor.advance(0.3)  # until the endpoint sees that there is no other address
        self.reactor.advance(0)

    def refused(self, head: bytes) -> None:
        server = self.reached()
        server.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        server.lose()
        self.reactor.advance(0)

    def away(self) -> Stay:
        """It was connected, and is not any more."""
        self.open().taken()
        self.lose()
        return self

    @property
    def attempts(self) -> int:
        return len(self.reactor.tcpClients)

    def said(self, capsys: Capture) -> list[str]:
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix("wsservice.client: ") for line in lines]


class TestConnectingAgain:
    def test_after_a_loss(self, capsys: Capture) -> None:
        run = Stay().away()
        assert run.said(capsys) == [f"{LOST}; trying again in 1.0 s"]
        run.reactor.advance(0.9)
        assert run.attempts == 1
        run.reactor.advance(0.1)
        server = run.open()
        assert run.said(capsys) == ["connected again"]
        server.send(text(b"hi"))
        assert run.output.printed == b"hi\n"
        assert run.status == []

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 4001])
    def test_whatever_the_server_closed_with(self, capsys: Capture, code: int) -> None:
        run = Stay()
        run.open()
        run.server_closes(code, b"\x1b")
        assert run.status == []
        said = rf"the server closed with {code} (\x1b); trying again in 1.0 s"
        assert run.said(capsys) == [said]
        run.reactor.advance(1)
        assert run.attempts == 2

    def test_where_it_never_was_connected(self, capsys: Capture) -> None:
        run = Stay("-m", "hi")
        for attempt, delay in enumerate((1, 2, 4), 1):
            run.unreachable()
            assert run.said(capsys) == [
                f"cannot connect to {URL}: connection refused; trying again in {delay}.0 s"
            ]
            assert run.attempts == attempt
            run.reactor.advance(delay)
        assert run.open().frames() == [(TEXT, b"hi")]
        assert run.said(capsys) == []

    def test_a_server_that_broke_a_rule(self, capsys: Capture) -> None:
        run = Stay()
        run.open().send(b"\xc1\x01x")
        run.lose()
        assert run.status == []
        assert run.said(capsys)[0].startswith("closed with 1002 (")

    @pytest.mark.parametrize(
        ("head", "status"), [(b"401 Unauthorized", 5), (b"404 Not Found", 5), (b"503 Busy", None)]
    )
    def test_not_where_it_cannot_help(
        self, capsys: Capture, head: bytes, status: int | None
    ) -> None:
        run = Stay().away()
        run.reactor.advance(1)
        run.refused(head)
        assert run.status == ([] if status is None else [status])
        assert head.decode() in run.said(capsys)[-1]
        run.reactor.advance(1000)
        assert run.attempts == (3 if status is None else 2)

    def test_what_is_not_read_is_not_read_from_the_next_one_either(self) -> None:
        run = Stay()
        run.open()
        run.output.full()
        run.lose()
        run.reactor.advance(1)
        server = run.open()
        assert server.transport.is_paused()
        run.output.room()
        assert not server.transport.is_paused()


class TestSending:
    def test_what_was_not_sent_is_kept_and_sent_in_order(self, capsys: Capture) -> None:
        run = Stay("-m", "once")
        server = run.open()
        assert server.frames() == [(TEXT, b"once")]
        assert run.session.connection is not None
        run.session.connection.pauseProducing()
        run.input.lines([b"1", b"2", b"3"])
        server.taken()
        run.lose()
        run.input.lines([b"4"])
        run.said(capsys)
        run.reactor.advance(1)
        assert run.open().frames() == [(TEXT, b"%d" % number) for number in (1, 2, 3, 4)]
        assert run.said(capsys) == ["connected again, sending 4 messages that waited"]

    def test_its_source_waits_while_too_much_is_kept(self) -> None:
        run = Stay("--send-buffer", "1000").away()
        run.input.lines([b"x" * 1000])
        assert run.input.state == "paused"
        run.reactor.advance(1)
        run.open()
        assert run.input.state == "resumed"

    def test_what_may_have_been_lost_is_said(self, capsys: Capture) -> None:
        run = Stay("-m", "1")
        server = run.open()
        run.reactor.advance(1)
        ((_, ping),) = [each for each in server.frames() if each[0] == PING]
        server.send(frame(PONG, ping, masked=False))  # so that the first has arrived
        run.input.lines([b"2", b"3"])
        run.lose()
        assert run.said(capsys) == [f"{LOST}; 2 messages may have been lost; trying again in 1.0 s"]
        run.reactor.advance(1)
        run.open()
        run.lose()
        assert run.said(capsys)[-1] == f"{LOST}; trying again in 2.0 s"

    def test_at_the_end_too(self, capsys: Capture) -> None:
        run = Stay("-m", "1")
        run.open()
        run.input.end("")
        run.lose()
        assert run.status == [6]
        assert run.said(capsys) == [f"{LOST}; 1 message may have been lost"]

    def test_an_answer_to_our_close_is_one_to_all_of_it(self, capsys: Capture) -> None:
        run = Stay("-m", "1")
        run.open()
        run.input.end("")
        run.server_closes()
        assert run.status == [0]
        assert run.said(capsys) == []

    def test_who_does_not_stay_asks_for_no_answers(self) -> None:
        run = Run(URL, "-m", "1")
        server = run.open()
        server.taken()
        run.reactor.advance(5)
        assert server.frames() == []


class TestEnd:
    def test_a_close_that_we_asked_for_is_the_last(self) -> None:
        run = Stay()
        run.open()
        run.input.end("")
        run.server_closes(4001)
        assert run.status == [8]
        run.reactor.advance(1000)
        assert run.attempts == 1

    def test_the_end_of_input_waits_until_all_is_sent(self) -> None:
        run = Stay().away()
        run.input.lines([b"kept"])
        run.input.end("")
        run.reactor.advance(1)
        server = run.open()
        assert server.frames() == [(TEXT, b"kept"), (CLOSE, close_payload(1000))]
        server.send(text(b"what still came"))
        run.server_closes()
        assert run.status == [0]
        assert run.output.printed == b"what still came\n"

    def test_with_nothing_to_send_there_is_nothing_to_connect_for(self) -> None:
        run = Stay().away()
        run.input.end("")
        assert run.status == [6]
        run.reactor.advance(1000)
        assert run.attempts == 1

    @pytest.mark.parametrize(
        ("code", "status"), [(1001, 0), (4001, 8)], ids=["in-order", "otherwise"]
    )
    def test_the_status_is_that_of_the_last_connection(self, code: int, status: int) -> None:
        run = Stay()
        run.open()
        run.server_closes(code)
        run.input.end("")
        assert run.status == [status]

    def test_or_of_the_last_attempt(self) -> None:
        run = Stay().away()
        run.reactor.advance(1)
        run.unreachable()
        run.input.end("")
        assert run.status == [3]

    def test_a_line_that_is_not_text_ends_it_with_2(self, capsys: Capture) -> None:
        run = Stay().away()
        run.input.lines([b"\xff"])
        assert run.status == [2]
        run = Stay().away()
        run.input.lines([b"good", b"\xff"])
        run.reactor.advance(1)
        assert run.open().frames() == [(TEXT, b"good"), (CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == [2]

    def test_output_that_nobody_reads_ends_it(self) -> None:
        run = Stay().away()
        run.output.error(BrokenPipeError(32, "Broken pipe"))
        assert run.status == [0]

    def test_what_was_not_sent_is_said(self, capsys: Capture) -> None:
        run = Stay().away()
        run.input.lines([b"1", b"2"])
        run.reactor.advance(1)
        run.refused(b"401 Unauthorized")
        assert run.status == [5]
        assert run.said(capsys)[-1] == "not sent: 2 messages"


class TestGoal:
    def test_messages_are_counted_over_all_connections(self) -> None:
        run = Stay("--count", "2")
        run.open().send(text(b"1"))
        run.input.end("")
        run.lose()
        run.reactor.advance(1)
        server = run.open()
        server.send(text(b"2") + text(b"3"))
        assert server.frames() == [(CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == [0]
        assert run.output.printed == b"1\n2\n"

    def test_the_close_that_is_expected_ends_it_and_no_other(self) -> None:
        run = Stay("--expect-close", "4001")
        run.open()
        run.server_closes(1000)
        run.input.end("")
        assert run.status == []
        run.reactor.advance(1)
        run.open()
        run.server_closes(4001)
        assert run.status == [0]
        assert run.attempts == 2

    def test_where_messages_are_missing_it_is_no_end(self) -> None:
        run = Stay("--expect-close", "4001", "--count", "1")
        run.open()
        run.server_closes(4001)
        assert run.status == []
        run.reactor.advance(1)
        run.open().send(text(b"1"))
        run.server_closes(4001)
        assert run.status == [0]

    @pytest.mark.parametrize("away", [False, True])
    def test_the_time_is_that_of_all_of_it(self, capsys: Capture, away: bool) -> None:
        run = Stay("--timeout", "2.5", "--count", "1").away()
        run.reactor.advance(1)
        server = run.open()
        if away:
            run.lose()
        run.reactor.advance(1.5)
        while_connecting = " while connecting" if away else ""
        assert run.status == [7]
        said = f"timed out after 2.5 s{while_connecting} after 0 of 1 messages"
        assert run.said(capsys)[-1] == said
        if not away:
            assert server.frames()[-1] == (CLOSE, close_payload(1000))
        run.reactor.advance(1000)
        assert run.attempts == 2
        assert run.reactor.getDelayedCalls() == []


class TestInterrupt:
    def test_while_it_waits_it_ends_at_once(self, capsys: Capture) -> None:
        run = Stay().away()
        run.input.lines([b"1"])
        run.session.interrupt(signal.SIGINT)
        assert run.status == [130]
        assert run.said(capsys)[1:] == ["not sent: 1 message"]
        run.reactor.advance(1000)
        assert run.attempts == 1

    def test_so_does_one_while_it_connects(self) -> None:
        run = Stay().away()
        run.reactor.advance(1)
        server = run.reached()
        run.session.interrupt(signal.SIGINT)
        assert run.status == [130]
        assert server.aborted

    def test_where_it_is_connected_it_closes_and_waits(self) -> None:
        run = Stay()
        server = run.open()
        run.session.interrupt(signal.SIGINT)
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert run.status == []
        run.server_closes()
        assert run.status == [130]


class TestPerson:
    """The features of the face for a person only."""

    def test_what_is_sent_is_kept_until_there_is_a_connection(self) -> None:
        run = Stay(face=Face())
        run.open()
        assert run.session.is_open
        run.lose()
        assert (run.session.is_open, run.session.keeps) == (False, True)
        run.session.send(b"kept")
        run.reactor.advance(1)
        assert run.open().frames() == [(TEXT, b"kept")]
        assert run.session.kept == 1

    def test_no_more_is_kept_than_the_send_buffer_has_room_for(self) -> None:
        run = Stay("--send-buffer", "1000", face=Face()).away()
        for size in (500, 500):
            assert run.session.keeps
            run.session.send(b"x" * size)
        assert not run.session.keeps

    def test_nothing_is_kept_once_it_leaves(self) -> None:
        run = Stay(face=Face())
        run.open()
        run.session.leave()
        assert not run.session.keeps
        run.server_closes()
        assert not run.session.keeps
        assert run.status == [0]

    def test_nor_where_it_does_not_stay(self) -> None:
        run = Run(URL, face=Face())
        run.open()
        run.session.reconnect()
        assert run.session.keeps
        run.server_closes()
        assert run.session.keeps
        run.session.send(b"typed meanwhile")
        assert run.open().frames() == [(TEXT, b"typed meanwhile")]
        assert not run.session.keeps

    def test_who_leaves_does_not_wait_for_a_connection(self) -> None:
        run = Stay(face=Face()).away()
        run.session.send(b"kept")
        run.session.leave()
        assert run.status == [6]
        assert run.session.reactor.getDelayedCalls() == []
        assert run.face.told[-2:] == [("say", "not sent: 1 message"), "ended"]
        run.session.leave()
        run.session.reconnect()
        assert run.face.told[-1] == "ended"
        assert run.attempts == 1

    def test_it_may_try_again_at_once(self) -> None:
        run = Stay(face=Face()).away()
        run.session.reconnect()
        assert run.attempts == 2
        run.open()
        run.reactor.advance(5)
        assert run.attempts == 2

    def test_a_close_may_have_to_wait_for_the_next_connection(self) -> None:
        run = Stay(face=Face())
        run.open()
        assert run.session.connection is not None
        run.session.connection.pauseProducing()
        run.session.send(b"1")
        run.session.leave(4001, "done")
        run.lose()
        run.reactor.advance(1)
        assert run.open().frames() == [(TEXT, b"1"), (CLOSE, close_payload(4001, b"done"))]

    def test_it_is_over_when_the_terminal_is_in_order(self) -> None:
        face = Face()
        waits: Deferred[None] = Deferred()
        face.ended = lambda: waits  # type: ignore[method-assign, assignment]
        run = Stay(face=face).away()
        run.session.interrupt(signal.SIGINT)
        assert run.status == []
        waits.callback(None)
        assert run.status == [130]
