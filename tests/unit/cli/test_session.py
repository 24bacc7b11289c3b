"""The program's session, on a connection in memory."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.cli import script
from wsservice.cli.command import parse
from wsservice.cli.script import Script
from wsservice.cli.session import Session
from wsservice.cli.tutorial import Tutorial

from ...support import BINARY, CLOSE, TEXT, Logged, Server, close_payload, frame

Capture = pytest.CaptureFixture[str]

URL = "ws://127.0.0.1:8080/"


class Output:
    """Standard output."""

    is_terminal = False
    last: Output

    def __init__(
        self, reactor: object, descriptor: int, on_full: Any, on_room: Any, on_error: Any
    ) -> None:
        Output.last = self
        self.full, self.room, self.error = on_full, on_room, on_error
        self.printed = b""
        self.waits: Deferred[None] | None = None

    def write(self, octets: bytes) -> None:
        self.printed += octets

    def written(self) -> Deferred[None]:
        return self.waits or succeed(None)


class Input:
    """Standard input, fed by the test."""

    last: Input

    def __init__(
        self, reactor: object, descriptor: int, on_lines: Any, on_end: Any, end: bytes
    ) -> None:
        Input.last = self
        self.lines, self.end, self.ends_in = on_lines, on_end, end
        self.state = "made"

    def start(self) -> None:
        self.state = "started"

    def pauseProducing(self) -> None:
        self.state = "paused"

    def resumeProducing(self) -> None:
        self.state = "resumed"

    def stopProducing(self) -> None:
        self.state = "stopped"


class Run:
    """A session, run with these arguments."""

    def __init__(self, *arguments: str, face: Any = None) -> None:
        self.reactor = MemoryReactorClock()
        command = parse([*arguments])
        self.face: Any = face or (Tutorial() if command.tutorial else Script())
        self.session = Session(self.reactor, command, self.face)
        self._status: list[int] = []
        self.session.run().addCallback(self._status.append)

    @property
    def status(self) -> list[int]:
        """The exit status, once it ended; what an attempt came to is told in the next turn."""
        self.reactor.advance(0)
        return self._status

    @property
    def input(self) -> Any:
        return Input.last

    @property
    def output(self) -> Any:
        return Output.last

    def reached(self) -> Server:
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "::1", 1))
        self.server = Server(protocol)
        return self.server

    def open(self) -> Server:
        return self.reached().accept()

    def server_closes(self, code: int | None = 1000, reason: bytes = b"") -> None:
        payload = b"" if code is None else close_payload(code, reason)
        self.server.send(frame(CLOSE, payload, masked=False))
        self.server.lose()


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "Output", Output)
    monkeypatch.setattr(script, "LineReader", Input)


def text(payload: bytes) -> bytes:
    return frame(TEXT, payload, masked=False)


class TestConversation:
    def test_it_sends_only_what_it_is_given(self) -> None:
        run = Run(URL, "-m", "one", "-m", "two")
        server = run.open()
        assert server.frames() == [(TEXT, b"one"), (TEXT, b"two")]
        assert run.input.state == "started"
        run.input.lines([b"three", b""])
        assert server.frames() == [(TEXT, b"three"), (TEXT, b"")]

    def test_it_prints_what_comes(self) -> None:
        run = Run(URL)
        server = run.open()
        server.send(text(b"hi\x1b") + frame(BINARY, b"\0\xff", masked=False))
        assert run.output.printed == b"hi\x1b\n\0\xff\n"

    def test_it_escapes_what_a_person_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Output, "is_terminal", True)
        run = Run(URL)
        run.open().send(text(b"hi\x1b"))
        assert run.output.printed == b"hi\\x1b\n"

    def test_messages_may_end_in_nul_both_ways(self) -> None:
        run = Run(URL, "--null")
        server = run.open()
        assert run.input.ends_in == b"\0"
        run.input.lines([b"a\nb"])
        assert server.frames() == [(TEXT, b"a\nb")]
        server.send(text(b"c\nd"))
        assert run.output.printed == b"c\nd\0"

    def test_the_end_of_input_closes(self) -> None:
        run = Run(URL)
        server = run.open()
        run.input.end("")
        assert server.frames() == [(CLOSE, close_payload(1000))]
        server.send(text(b"what still came"))
        run.server_closes()
        assert run.status == [0]
        assert run.output.printed == b"what still came\n"

    def test_the_end_of_input_may_close_later(self) -> None:
        run = Run(URL, "--linger", "3")
        server = run.open()
        run.input.end("")
        run.reactor.advance(2.9)
        assert server.frames() == []
        run.reactor.advance(0.1)
        assert server.frames() == [(CLOSE, close_payload(1000))]

    @pytest.mark.parametrize(
        ("options", "what"), [([], "line 3"), (["--null"], "message 3")], ids=["lines", "null"]
    )
    def test_a_line_that_is_not_text_is_said_and_ends_with_2(
        self, capsys: Capture, options: list[str], what: str
    ) -> None:
        run = Run(URL, *options)
        server = run.open()
        run.input.lines([b"fine"])
        run.input.lines([b"too", b"\xff", b"never said"])
        assert server.frames() == [
            (TEXT, b"fine"),
            (TEXT, b"too"),
            (CLOSE, close_payload(1000)),
        ]
        run.server_closes()
        assert run.status == [2]
        said = f"wsservice.client: {what} of standard input is not UTF-8 text\n"
        assert capsys.readouterr().err == said

    def test_input_that_cannot_be_read_on_ends_with_2(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.input.end("has a message of more than 128 MiB")
        assert server.frames() == [(CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == [2]
        assert "standard input has a message of more than 128 MiB\n" in capsys.readouterr().err

    def test_no_standard_error_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stderr", None)
        run = Run(URL)
        run.open()
        run.server_closes(1001)
        assert run.status == [0]


class TestOutput:
    def test_while_nobody_reads_it_the_server_is_not_read(self) -> None:
        run = Run(URL)
        server = run.open()
        run.output.full()
        assert server.transport.is_paused()
        server.send(text(b"kept"))
        assert run.output.printed == b""
        run.output.room()
        assert not server.transport.is_paused()
        assert run.output.printed == b"kept\n"

    def test_the_run_is_over_when_all_is_printed(self) -> None:
        run = Run(URL)
        run.open()
        run.output.waits = Deferred()
        run.server_closes()
        assert run.status == []
        run.output.waits.callback(None)
        assert run.status == [0]

    def test_whoever_read_it_may_have_enough(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.output.error(BrokenPipeError(errno.EPIPE, "Broken pipe"))
        assert server.frames() == [(CLOSE, close_payload(1000))]
        run.server_closes(1011)
        assert run.status == [0]
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("at_the_end", [False, True])
    def test_what_cannot_be_written_is_1(self, capsys: Capture, at_the_end: bool) -> None:
        run = Run(URL)
        run.open()
        waits: Deferred[None] = Deferred()
        run.output.waits = waits
        full = OSError(errno.ENOSPC, "No space left on device")
        if at_the_end:
            run.server_closes()
            run.output.error(full)
        else:
            run.output.error(full)
            run.server_closes()
        waits.callback(None)
        assert run.status == [1]
        said = "wsservice.client: standard output cannot be written, No space left on device\n"
        assert capsys.readouterr().err == said

    def test_an_end_that_said_what_is_wrong_stands(self, capsys: Capture) -> None:
        run = Run(URL)
        run.open()
        waits: Deferred[None] = Deferred()
        run.output.waits = waits
        run.server_closes(1011)
        run.output.error(BrokenPipeError(errno.EPIPE, "Broken pipe"))
        waits.callback(None)
        assert run.status == [8]

    def test_a_face_that_cannot_print_has_nobody_to_print_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(URL)
        server = run.open()

        def gone(payload: bytes, is_binary: bool) -> None:
            raise OSError(errno.EPIPE, "Broken pipe")

        monkeypatch.setattr(run.face, "received", gone)
        server.send(text(b"hi"))
        assert server.frames() == [(CLOSE, close_payload(1000))]


class TestGoal:
    def test_no_more_than_so_many_are_printed(self) -> None:
        run = Run(URL, "--count", "2")
        server = run.open()
        run.input.end("")
        server.send(text(b"1"))
        assert server.frames() == []
        server.send(text(b"2") + text(b"3"))
        assert server.frames() == [(CLOSE, close_payload(1000))]
        server.send(text(b"4"))
        server.lose(error.ConnectionLost())
        assert run.status == [0]
        assert run.output.printed == b"1\n2\n"

    def test_a_match_is_the_last_that_is_printed(self) -> None:
        run = Run(URL, "--until", "^ff", "--binary", "hex")
        server = run.open()
        server.send(text(b"0ff") + frame(BINARY, b"\xff\0", masked=False) + text(b"more"))
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert run.output.printed == b"0ff\nff00\n"

    def test_what_was_to_be_sent_is_not_when_it_is_enough(self) -> None:
        run = Run(URL, "--count", "1")
        server = run.open()
        assert run.session.connection is not None
        run.session.connection.pauseProducing()
        run.input.lines([b"x" * 600_000])
        run.input.lines([b"y"])
        server.send(text(b"enough"))
        run.session.connection.resumeProducing()
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert run.input.state == "stopped"

    @pytest.mark.parametrize(
        ("options", "code", "status", "said"),
        [
            (["--count", "2"], 1000, 7, "the server closed with 1000 after 1 of 2 messages"),
            (["--count", "2"], None, 7, "the server closed after 1 of 2 messages"),
            (["--count", "2"], 4001, 8, "the server closed with 4001 after 1 of 2 messages"),
            (["--until", "x"], 1001, 7, "the server closed with 1001 before a message matched"),
            (["--expect-close", "4001"], 4001, 0, ""),
            (["--expect-close", "1005"], None, 0, ""),
            (["--expect-close", "4001", "--count", "1"], 4001, 0, ""),
            (["--expect-close", "4001"], 1000, 7, "the server closed with 1000, not with 4001"),
            (["--expect-close", "4001"], 4002, 8, "the server closed with 4002, not with 4001"),
        ],
    )
    def test_what_does_not_come_is_said(
        self, capsys: Capture, options: list[str], code: int | None, status: int, said: str
    ) -> None:
        run = Run(URL, *options)
        server = run.open()
        server.send(text(b"1"))
        run.input.end("")
        assert server.frames() == []
        run.server_closes(code)
        assert run.status == [status]
        assert capsys.readouterr().err.startswith(f"wsservice.client: {said}\n" if said else "")

    @pytest.mark.parametrize("stays", [[], ["--reconnect", "--expect-close", "1000"]])
    def test_a_server_that_closes_before_all_is_sent_leaves_no_doubt(
        self, capsys: Capture, stays: list[str]
    ) -> None:
        run = Run(URL, *stays)
        run.open()
        assert run.session.connection is not None
        run.session.connection.pauseProducing()
        run.input.lines([b"x" * 600_000, b"y", b"z"])
        run.server_closes(1000)
        assert run.status == [0]
        assert "not sent: 3 messages\n" in capsys.readouterr().err

    def test_a_loss_says_how_far_it_came(self, capsys: Capture) -> None:
        run = Run(URL, "--count", "2")
        run.open().lose(error.ConnectionLost())
        assert run.status == [6]
        assert "lost without a close frame after 0 of 2 messages\n" in capsys.readouterr().err


class TestTimeout:
    def test_it_bounds_connecting(self, capsys: Capture) -> None:
        run = Run(URL, "--timeout", "2.5")
        run.reactor.advance(2.5)
        assert run.status == [7]
        said = "wsservice.client: timed out after 2.5 s while connecting\n"
        assert capsys.readouterr().err == said

    def test_it_closes_and_does_not_wait(self, capsys: Capture) -> None:
        run = Run(URL, "--timeout", "2", "--count", "3")
        server = run.open()
        run.reactor.advance(2)
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert run.status == [7]
        assert capsys.readouterr().err == (
            "wsservice.client: timed out after 2 s after 0 of 3 messages\n"
        )
        server.lose()

    def test_what_is_to_be_printed_has_a_moment_more(self) -> None:
        run = Run(URL, "--timeout", "2")
        run.open()
        run.output.waits = Deferred()
        run.reactor.advance(2)
        assert run.status == []
        run.reactor.advance(0.5)
        assert run.status == [7]

    def test_output_that_nobody_takes_is_bounded_too(self) -> None:
        run = Run(URL, "--timeout", "2")
        run.open()
        run.output.waits = Deferred()
        run.server_closes()
        assert run.status == []
        run.reactor.advance(2)
        assert run.status == [7]

    def test_none_is_left_after_the_end(self) -> None:
        run = Run(URL, "--timeout", "9", "--linger", "5")
        run.open()
        run.input.end("")
        run.server_closes()
        assert run.status == [0]
        assert run.reactor.getDelayedCalls() == []


def test_without_a_url_it_plays_the_tutorials_part(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsservice.cli.command.TUTORIAL_URL", "ws://127.0.0.1:8080/")
    run = Run()
    server = run.open()
    assert server.frames() == [(TEXT, b"Msg from client")]
    server.send(frame(TEXT, b"Hello from server\n", masked=False))
    assert logged.text.endswith(r"Msg received in client: Hello from server\n")
    run.server_closes(1001)
    assert run.status == [0]


class TestStatus:
    @pytest.mark.parametrize(
        ("code", "status", "said"),
        [
            (1000, 0, ""),
            (None, 0, ""),
            (1001, 0, "wsservice.client: the server closed with 1001\n"),
            (1011, 8, "wsservice.client: the server closed with 1011\n"),
            (4000, 8, "wsservice.client: the server closed with 4000\n"),
        ],
    )
    def test_it_is_that_of_the_close_code(
        self, capsys: Capture, code: int | None, status: int, said: str
    ) -> None:
        run = Run(URL)
        run.open()
        run.server_closes(code)
        assert run.status == [status]
        assert capsys.readouterr().err == said

    def test_a_reason_is_printed_escaped(self, capsys: Capture) -> None:
        run = Run(URL)
        run.open()
        run.server_closes(1008, b"a\n\x1b[2J")
        assert capsys.readouterr().err == (
            "wsservice.client: the server closed with 1008 (a\\n\\x1b[2J)\n"
        )

    def test_lost_is_6(self, capsys: Capture) -> None:
        run = Run(URL)
        run.open().lose(error.ConnectionLost())
        assert run.status == [6]
        assert capsys.readouterr().err.count("\n") == 1

    def test_a_close_that_is_not_answered_is_7(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.input.end("")
        run.reactor.advance(5)
        assert server.aborted
        server.lose(error.ConnectionAborted())
        assert run.status == [7]
        said = "wsservice.client: the server did not answer our close within 5 s\n"
        assert capsys.readouterr().err == said

    @pytest.mark.parametrize(
        ("octets", "said"),
        [
            (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), "1009: message too big"),
            (b"\x01\0" + b"\0\0" * 2000, "1008: too many fragments"),
            (b"\xc1\x01x", "1002: "),
        ],
        ids=["size", "fragments", "compressed"],
    )
    def test_what_the_server_may_not_is_8(self, capsys: Capture, octets: bytes, said: str) -> None:
        run = Run(URL)
        server = run.open()
        server.send(octets)
        (sent,) = server.frames()
        assert sent[0] == CLOSE
        server.lose()
        assert run.status == [8]
        assert capsys.readouterr().err.startswith(f"wsservice.client: closed with {said}")

    def test_not_connected_is_3(self, capsys: Capture) -> None:
        run = Run(URL)
        factory, connector = run.reactor.tcpClients[0][2], run.reactor.connectors[0]
        factory.clientConnectionFailed(connector, Failure(error.ConnectionRefusedError(111)))
        run.reactor.advance(1)
        assert run.status == [3]
        assert capsys.readouterr().err == (
            f"wsservice.client: cannot connect to {URL}: connection refused\n"
        )

    def test_a_setting_that_turns_out_wrong_is_2(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "ftp://u:secret@p")
        assert Run(URL).status == [2]
        said = capsys.readouterr().err
        assert said.startswith(
            "wsservice.client: http_proxy: 'ftp://********@p' is not allowed; give "
        )

    def test_that_nothing_is_verified_is_said(self, capsys: Capture) -> None:
        Run(URL, "--insecure")
        assert "WARNING: --insecure" in capsys.readouterr().err

    def test_refused_is_5(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.reached()
        server.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        server.lose()
        assert run.status == [5]
        assert "403 Forbidden" in capsys.readouterr().err


class TestInterrupt:
    def test_it_closes_with_1000_and_waits(self) -> None:
        run = Run(URL)
        server = run.open()
        run.session.interrupt(signal.SIGINT)
        assert server.frames() == [(CLOSE, close_payload(1000))]
        assert run.status == []
        run.server_closes()
        assert run.status == [130]

    def test_it_says_nothing_of_what_did_not_come(self, capsys: Capture) -> None:
        run = Run(URL, "--count", "2")
        run.open()
        run.session.interrupt(signal.SIGINT)
        run.server_closes()
        assert run.status == [130]
        assert capsys.readouterr().err == ""

    def test_what_nobody_reads_is_left_out(self) -> None:
        run = Run(URL)
        server = run.open()
        run.output.full()
        run.session.interrupt(signal.SIGINT)
        assert not server.transport.is_paused()
        server.send(text(b"nobody wants it"))
        assert run.output.printed == b""
        run.output.full()
        assert not server.transport.is_paused()

    def test_one_while_only_output_waits_ends_at_once(self) -> None:
        run = Run(URL)
        run.open()
        run.output.waits = Deferred()
        run.server_closes()
        assert run.status == []
        run.session.interrupt(signal.SIGINT)
        assert run.status == [130]

    def test_a_second_one_does_not_wait(self) -> None:
        run = Run(URL)
        run.open()
        run.session.interrupt(signal.SIGTERM)
        run.session.interrupt(signal.SIGTERM)
        assert run.status == [143]

    def test_nor_does_it_try_again_when_all_is_torn_down(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.session.interrupt(signal.SIGINT)
        run.session.interrupt(signal.SIGINT)
        server.lose(error.ConnectionAborted())
        run.reactor.advance(100)
        assert len(run.reactor.tcpClients) == 1
        assert capsys.readouterr().err == ""

    def test_one_while_connecting_gives_up(self, capsys: Capture) -> None:
        for reached in (False, True):
            run = Run(URL)
            if reached:
                run.reached()
            run.session.interrupt(signal.SIGINT)
            assert run.status == [130]
        assert capsys.readouterr().err == ""

    def test_a_connection_lost_meanwhile_is_said(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.session.interrupt(signal.SIGINT)
        server.lose(error.ConnectionLost())
        assert run.status == [130]
        assert "was lost without a close frame" in capsys.readouterr().err


class Face:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def opened(self, session: Session) -> None:
        self.told.append("opened")

    def received(self, payload: bytes, is_binary: bool) -> None:
        self.told.append(payload)

    def say(self, text: str) -> None:
        self.told.append(("say", text))

    def mention(self, text: str) -> None:
        self.told.append(("mention", text))

    def ended(self) -> None:
        self.told.append("ended")


class TestPerson:
    """The features of the face for a person only."""

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (1000, ("mention", "the server closed with 1000")),
            (None, ("mention", "the server closed")),
            (1001, ("say", "the server closed with 1001")),
            (4001, ("say", "the server closed with 4001")),
        ],
    )
    def test_an_end_in_order_is_only_mentioned(self, code: int | None, told: Any) -> None:
        run = Run(URL, face=Face())
        run.open()
        run.server_closes(code)
        assert run.face.told == ["opened", told, "ended"]

    @pytest.mark.parametrize("code", [1000, 4001])
    def test_a_close_that_was_asked_for_is_in_order_whatever_its_code(self, code: int) -> None:
        run = Run(URL, face=Face())
        server = run.open()
        run.session.close(code, "bye")
        assert server.frames() == [(CLOSE, close_payload(code, b"bye"))]
        run.server_closes(code)
        assert run.status == [0]
        assert run.face.told[1:] == [("mention", f"closed with {code}"), "ended"]

    def test_another_answer_than_that_is_the_servers(self) -> None:
        run = Run(URL, face=Face())
        run.open()
        run.session.close(4001)
        run.server_closes(4002)
        assert run.status == [8]
        assert run.face.told[1:] == [("say", "the server closed with 4002"), "ended"]

    def test_it_is_known_whether_what_is_sent_will_be(self) -> None:
        run = Run(URL, face=Face())
        seen = [run.session.is_open]
        run.open()
        seen.append(run.session.is_open)
        run.session.close()
        seen.append(run.session.is_open)
        assert seen == [False, True, False]

    def test_it_is_known_how_much_waits(self) -> None:
        run = Run(URL, face=Face())
        assert run.session.waiting == 0
        server = run.open()
        assert run.session.waiting == 0
        run.session.connection._queue.pause()  # type: ignore[union-attr]
        run.session.send(b"x" * 600_000)
        run.session.send(b"x" * 100)
        assert run.session.waiting > 600_100
        assert server.transport.value() == b""

    def test_it_connects_anew_when_asked_to(self) -> None:
        run = Run(URL, "-m", "once", face=Face())
        server = run.open()
        run.session.reconnect()
        assert server.frames() == [(TEXT, b"once"), (CLOSE, close_payload(1000))]
        assert not run.session.is_open
        run.server_closes()
        assert run.status == []
        server = run.open()
        assert server.frames() == []
        run.session.send(b"hi")
        assert server.frames() == [(TEXT, b"hi")]
        run.server_closes()
        assert run.status == [0]
        assert run.face.told == [
            "opened",
            "opened",
            ("mention", "the server closed with 1000"),
            "ended",
        ]

    def test_it_may_be_interrupted_while_it_connects_anew(self) -> None:
        run = Run(URL, face=Face())
        run.open()
        run.session.reconnect()
        run.server_closes()
        run.session.interrupt(signal.SIGINT)
        assert run.status == [130]
