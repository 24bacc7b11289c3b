"""The face of a person, on a terminal that only keeps what is printed."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock

from wsservice.cli.command import parse
from wsservice.cli.faces import face_for
from wsservice.cli.prompt import prompt as prompt_module
from wsservice.cli.session import Session
from wsservice.net.backoff import Backoff

from ....support import BINARY, CLOSE, PING, PONG, TEXT, Server, close_payload, frame

Capture = pytest.CaptureFixture[str]

URL = "ws://127.0.0.1:8080/"
CONNECTED = f"· connected to {URL}; /help for help, Ctrl-D closes"


class Console:
    """A terminal."""

    def __init__(self, listener: Any, history: Any, keep: Any, color: bool) -> None:
        self.history, self.keep, self.color = list(history), keep, color
        self.printed = ""
        self.started = 0
        self.stopping: Future[None] = Future()

    def start(self) -> None:
        self.started += 1

    def print(self, text: str) -> None:
        self.printed += text

    def stop(self) -> Future[None]:
        return self.stopping


class Run:
    """A person who runs the program with these arguments."""

    def __init__(self, *arguments: str) -> None:
        self.reactor = MemoryReactorClock()
        command, face = face_for(parse([URL, *arguments]), True)
        self.face: Any = face
        self.session = Session(self.reactor, command, face)
        self.status: list[int] = []
        self.session.run().addCallback(self.status.append)

    def open(self, *headers: str) -> Run:
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "::1", 1))
        self.server = Server(protocol)
        self.server.accept(*headers)
        return self

    @property
    def console(self) -> Any:
        return self.face._console

    def enter(self, *typed: str) -> list[str]:
        """Type these lines, and return the output without times."""
        self.console.printed = ""
        for each in typed:
            self.face.entered(each)
        return self.lines

    @property
    def lines(self) -> list[str]:
        printed = re.sub(r"\x1b\[[0-9;]+m", "", self.console.printed)
        lines = printed.split("\n")[:-1]
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines]

    def server_sends(self, opcode: int, payload: bytes) -> None:
        self.server.send(frame(opcode, payload, masked=False))

    def server_closes(self, code: int = 1000, reason: bytes = b"") -> None:
        self.server_sends(CLOSE, close_payload(code, reason))
        self.server.lose()


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(prompt_module, "Console", Console)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "wsservice" / "history"


class TestConversation:
    def test_first_it_says_what_is_connected_and_how_to_get_help_or_leave(self) -> None:
        run = Run().open()
        assert run.lines == [CONNECTED]
        assert run.console.started == 1

    def test_what_was_agreed_on_is_said(self) -> None:
        run = Run().open()
        protocol: Any = run.session.connection
        protocol.websocket_protocol_in_use = "chat"
        protocol.websocket_extensions_in_use = ["permessage-deflate"]
        run.enter()
        run.face.opened(run.session)
        assert run.lines == [CONNECTED.replace(";", " (chat, compressed);")]

    def test_what_the_command_line_gave_is_shown_once(self) -> None:
        run = Run("-m", "hello").open()
        assert run.lines == [CONNECTED, "> hello"]
        assert run.enter("/stats")[1].startswith("  sent 1 message, 5 bytes;")
        run.enter("/reconnect")
        run.server_closes()
        run.open()
        assert run.lines == ["· closing, to connect anew", CONNECTED]

    def test_what_is_entered_is_sent_and_shown(self) -> None:
        run = Run().open()
        assert run.enter("hello", "//x", "one\ntwo") == ["> hello", "> /x", "> one\\ntwo"]
        assert run.server.frames() == [(TEXT, b"hello"), (TEXT, b"/x"), (TEXT, b"one\ntwo")]

    def test_what_comes_is_shown_escaped(self) -> None:
        run = Run().open()
        run.enter()
        run.server_sends(TEXT, b"hi\x1b[2J")
        run.server_sends(BINARY, b"\xff")
        assert run.lines == ["< hi\\x1b[2J", "< (binary, 1 byte) ff"]

    def test_what_makes_no_sense_is_said_and_nothing_sent(self) -> None:
        run = Run().open()
        assert run.enter("/nope") == [
            "· there is no command '/nope'; /help lists them, //nope sends it"
        ]
        assert run.server.frames() == []

    def test_nothing_is_sent_when_it_would_not_arrive(self) -> None:
        run = Run().open()
        run.enter("/close")
        problem = "· the connection is not open, nothing was sent"
        assert run.enter("hello", "/ping", "/binary ff") == [problem] * 3
        assert run.server.frames() == [(CLOSE, close_payload(1000))]

    def test_while_much_waits_to_be_printed_the_server_is_not_read(self) -> None:
        run = Run().open()
        run.face.full()
        assert run.server.transport.is_paused()
        run.face.has_room()
        assert not run.server.transport.is_paused()

    @pytest.mark.parametrize(
        ("arguments", "environment", "color"),
        [([], "", True), ([], "1", False), (["--color", "always"], "1", True)],
    )
    def test_colours(
        self,
        arguments: list[str],
        environment: str,
        color: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("NO_COLOR", environment)
        run = Run(*arguments).open()
        assert run.console.color is color
        assert ("\x1b" in run.console.printed) is color


class TestCommands:
    def test_help(self) -> None:
        lines = Run().open().enter("/help")
        assert any("/reconnect" in line for line in lines)
        assert all(line.startswith("  ") for line in lines)

    def test_binary(self) -> None:
        run = Run().open()
        assert run.enter("/binary 00 ff") == ["> (binary, 2 bytes) 00ff"]
        assert run.server.frames() == [(BINARY, b"\x00\xff")]

    @pytest.mark.parametrize(
        ("command", "octets", "opcode", "kind"),
        [
            ("/file ", b"text\n", TEXT, "text"),
            ("/file ", b"\xff\n", BINARY, "binary"),
            ("/binary @", b"text\n", BINARY, "binary"),
        ],
    )
    def test_a_file(
        self, command: str, octets: bytes, opcode: int, kind: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "a file"
        path.write_bytes(octets)
        run = Run().open()
        size = len(octets)
        assert run.enter(f"{command}{path}") == [f"> {path} ({kind}, {size} bytes)"]
        assert run.server.frames() == [(opcode, octets)]
        path.unlink()
        assert run.enter(f"{command}{path}") == [
            f"· '{path}' cannot be read, No such file or directory"
        ]
        assert run.server.frames() == []

    def test_json(self) -> None:
        run = Run("--json").open()
        run.enter()
        run.server_sends(TEXT, b"[1]")
        assert run.lines == ["< [", "  1", "]"]
        assert run.enter("/json off") == ["· JSON is shown as it comes"]
        run.server_sends(TEXT, b"[1]")
        assert run.lines[-1] == "< [1]"
        assert run.enter("/json on") == ["· JSON is shown indented"]

    def test_ping(self) -> None:
        run = Run().open()
        assert run.enter("/ping hello", "/ping hello") == [
            "· ping",
            "· a ping with this payload still waits for its pong",
        ]
        run.reactor.advance(0.0123)
        run.server_sends(PONG, b"hello")
        assert run.lines[-1] == "· pong after 12.3 ms"
        run.enter("/ping")
        hello, nameless = run.server.frames()
        assert hello == (PING, b"hello")
        assert len(nameless[1]) == 8
        run.server_closes()
        assert run.lines == ["· ping", "· the server closed with 1000"]

    def test_headers(self) -> None:
        run = Run("-H", "Authorization: Bearer abc").open("X-Evil: \x1b[2J")
        lines = run.enter("/headers")
        assert lines[0] == "  > GET / HTTP/1.1"
        assert "  > Authorization: Bearer ********" in lines
        assert "  < HTTP/1.1 101 Switching Protocols" in lines
        assert "  < X-Evil: \\x1b[2J" in lines
        run.enter("/reconnect")
        run.server_closes()
        run.open()
        assert len(run.enter("/headers")) == len(lines) - 1

    def test_verbose_shows_them_as_they_come(self, capsys: Capture) -> None:
        run = Run("-v").open()
        assert "> GET / HTTP/1.1\n" in capsys.readouterr().err
        run.enter("/reconnect")
        run.server_closes()
        run.open()
        assert "  > GET / HTTP/1.1" in run.lines
        assert capsys.readouterr().err == ""

    def test_stats(self) -> None:
        run = Run().open()
        run.enter("hello", "/ping x")
        run.server_sends(TEXT, b"hi")
        run.server_sends(PONG, b"x")
        assert run.enter("/stats") == [
            "  open for 0 s",
            "  sent 1 message, 5 bytes; 0 bytes still waiting",
            "  received 1 message, 2 bytes",
            "  round trip: 0.0 ms the last, 0.0 ms to 0.0 ms in 1 ping",
        ]

    def test_close(self) -> None:
        run = Run().open()
        run.enter("/close 4001 enough")
        assert run.server.frames() == [(CLOSE, close_payload(4001, b"enough"))]
        run.server_closes(4001, b"enough")
        assert run.lines == ["· closed with 4001 (enough)"]
        run.console.stopping.set_result(None)
        assert run.status == [0]

    def test_reconnect_keeps_the_prompt(self) -> None:
        run = Run().open()
        console = run.console
        run.enter("before", "/reconnect")
        run.server_closes()
        run.open()
        assert run.console is console
        assert console.started == 1
        assert run.lines == ["> before", "· closing, to connect anew", CONNECTED]
        assert run.enter("/stats")[1] == "  sent 0 messages, 0 bytes; 0 bytes still waiting"


class TestStaying:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Run:
        """Its connection was lost, and it waits for a second."""
        monkeypatch.setattr("wsservice.client.staying.Backoff", lambda: Backoff(lambda: 1.0))
        run = Run("--reconnect").open()
        run.enter()
        run.server.lose()
        run.reactor.advance(0)
        return run

    def test_it_is_said_that_and_when_it_tries_again(self, run: Run) -> None:
        lost = "the connection was lost without a close frame"
        assert run.lines == [f"· {lost}; trying again in 1.0 s"]

    def test_what_is_entered_meanwhile_is_kept_and_sent_in_order(
        self, run: Run, tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        path.write_text("text")
        kept = "· kept until there is a connection:"
        assert run.enter("one", f"/file {path}", "/binary ff") == [
            f"{kept} one",
            f"{kept} {path} (text, 4 bytes)",
            f"{kept} (binary, 1 byte) ff",
        ]
        run.enter()
        run.reactor.advance(1)
        console = run.console
        run.open()
        assert run.console is console
        assert run.lines == [
            CONNECTED,
            "> one",
            f"> {path} (text, 4 bytes)",
            "> (binary, 1 byte) ff",
        ]
        assert run.server.frames() == [(TEXT, b"one"), (TEXT, b"text"), (BINARY, b"\xff")]
        assert run.enter("/stats")[1] == "  sent 3 messages, 8 bytes; 0 bytes still waiting"

    def test_a_ping_is_not_kept(self, run: Run) -> None:
        assert run.enter("/ping") == ["· the connection is not open, nothing was sent"]

    def test_reconnect_does_not_wait(self, run: Run) -> None:
        assert run.enter("/reconnect") == ["· trying again now"]
        run.open()
        assert run.lines[1:] == [CONNECTED]

    def test_ctrl_c_ends_it_at_once(self, run: Run) -> None:
        run.enter("kept")
        run.enter()
        run.face.interrupted()
        assert run.lines == ["· not sent: 1 message"]
        run.console.stopping.set_result(None)
        assert run.status == [130]

    @pytest.mark.parametrize("how", ["left", "/close"])
    def test_who_leaves_does_not_wait_for_a_connection(self, run: Run, how: str) -> None:
        run.face.left() if how == "left" else run.enter(how)
        run.console.stopping.set_result(None)
        assert run.status == [6]


class TestEnd:
    def test_ctrl_d_closes(self) -> None:
        run = Run().open()
        run.face.left()
        assert run.server.frames() == [(CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == []
        run.console.stopping.set_result(None)
        assert run.status == [0]
        assert run.lines == [CONNECTED, "· closed with 1000"]

    def test_ctrl_c_closes_and_the_second_does_not_wait(self) -> None:
        run = Run().open()
        run.enter()
        run.face.interrupted()
        assert run.server.frames() == [(CLOSE, close_payload(1000))]
        assert run.lines == ["· closing; Ctrl-C again ends at once"]
        assert run.status == []
        run.face.interrupted()
        assert run.status == [130]

    def test_what_the_server_closed_with_is_said(self) -> None:
        run = Run().open()
        run.enter()
        run.server_closes(4001, b"no\x1b[2J")
        assert run.lines == ["· the server closed with 4001 (no\\x1b[2J)"]
        run.console.stopping.set_result(None)
        assert run.status == [8]

    def test_a_terminal_that_cannot_be_written_ends_it(self) -> None:
        run = Run().open()
        run.face.failed(OSError(5, "Input/output error"))
        assert run.server.frames() == [(CLOSE, close_payload(1000))]

    def test_without_a_connection_there_is_no_prompt(self, capsys: Capture) -> None:
        run = Run()
        run.session.interrupt(2)
        assert run.console is None
        assert run.status == [130]
        run.face.say("a problem")
        run.face.mention("what only a person wants to hear")
        assert capsys.readouterr().err == "wsservice.client: a problem\n"


class TestHistory:
    def test_it_is_kept(self, state: Path) -> None:
        run = Run().open()
        assert run.console.history == []
        run.console.keep("one")
        assert state.read_text() == "one\n"
        assert Run().open().console.history == ["one"]

    def test_unless_it_is_not_wanted(self, state: Path) -> None:
        state.parent.mkdir(parents=True)
        state.write_text("one\n")
        run = Run("--no-history").open()
        assert run.console.history == []
        run.console.keep("two")
        assert state.read_text() == "one\n"

    def test_or_there_is_no_place_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", "")
        monkeypatch.setenv("HOME", "")
        run = Run().open()
        run.console.keep("one")
        assert run.lines == [CONNECTED]

    def test_that_it_cannot_be_written_is_said_once(self, state: Path) -> None:
        run = Run().open()
        run.enter()
        state.parent.parent.mkdir()
        state.parent.write_text("a file")
        run.console.keep("one")
        run.console.keep("two")
        assert run.lines == [f"· typed lines are not saved, {state.parent}: File exists"]

    def test_that_it_cannot_be_read_is_said_once(self, state: Path, capsys: Capture) -> None:
        state.mkdir(parents=True)
        run = Run().open()
        run.console.keep("one")
        assert run.lines == [CONNECTED]
        assert capsys.readouterr().err == (
            f"wsservice.client: typed lines are not saved, {state}: Is a directory\n"
        )
