"""The program's session, on a connection in memory."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from wsservice.client import __main__ as program
from wsservice.client.options import parse

from .support import BINARY, CLOSE, TEXT, Logged, Server, close_payload, frame

URL = "ws://127.0.0.1:8080/"


class Output:
    """Standard output."""

    def __init__(self, descriptor: int) -> None:
        self.written: list[tuple[bytes, bool]] = []
        self.gone = False

    def write(self, payload: bytes, isBinary: bool) -> None:
        if self.gone:
            raise BrokenPipeError
        self.written.append((payload, isBinary))


class Input:
    """Standard input, fed by the test."""

    def __init__(self, reactor: object, descriptor: int, on_line: Any, on_end: Any) -> None:
        self.line, self.end = on_line, on_end
        self.started = False

    def start(self) -> None:
        self.started = True

    def stopProducing(self) -> None: ...


class Run:
    """A session, run with these arguments."""

    def __init__(self, *arguments: str) -> None:
        self.reactor = MemoryReactorClock()
        self.session = program.Session(self.reactor, parse([*arguments]))
        self.status: list[int] = []
        self.session.run().addCallback(self.status.append)

    def reached(self) -> Server:
        protocol = self.reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "::1", 1))
        self.server = Server(protocol)
        return self.server

    def open(self) -> Server:
        return self.reached().accept()

    @property
    def protocol(self) -> Any:
        return self.session.connection

    def server_closes(self, code: int | None = 1000, reason: bytes = b"") -> None:
        payload = b"" if code is None else close_payload(code, reason)
        self.server.send(frame(CLOSE, payload, masked=False))
        self.server.lose()


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Output", Output)
    monkeypatch.setattr(program, "LineReader", Input)


Capture = pytest.CaptureFixture[str]


class TestConversation:
    def test_it_sends_only_what_it_is_given(self) -> None:
        run = Run(URL, "-m", "one", "-m", "two")
        server = run.open()
        assert server.frames() == [(TEXT, b"one"), (TEXT, b"two")]
        reader = run.protocol._producer
        assert reader.started
        reader.line(b"three")
        assert server.frames() == [(TEXT, b"three")]

    def test_it_prints_what_comes(self) -> None:
        run = Run(URL)
        server = run.open()
        server.send(frame(TEXT, b"hi", masked=False) + frame(BINARY, b"\0", masked=False))
        assert run.protocol._output.written == [(b"hi", False), (b"\0", True)]

    def test_the_end_of_input_closes(self) -> None:
        run = Run(URL)
        server = run.open()
        run.protocol._producer.end()
        assert server.frames() == [(CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == [0]

    def test_a_line_that_is_not_text_is_said_and_ends_with_2(self, capsys: Capture) -> None:
        run = Run(URL)
        server = run.open()
        run.protocol._producer.line(b"fine")
        run.protocol._producer.line(b"\xff")
        assert server.frames() == [(TEXT, b"fine"), (CLOSE, close_payload(1000))]
        run.server_closes()
        assert run.status == [2]
        assert "line 2 of standard input is not UTF-8 text\n" in capsys.readouterr().err

    def test_output_that_nobody_takes_closes(self) -> None:
        run = Run(URL)
        server = run.open()
        run.protocol._output.gone = True
        server.send(frame(TEXT, b"hi", masked=False))
        assert server.frames() == [(CLOSE, close_payload(1000))]


def test_without_a_url_it_plays_the_tutorials_part(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsservice.client.options.TUTORIAL_URL", "ws://127.0.0.1:8080/")
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

    def test_not_connected_is_3(self, capsys: Capture) -> None:
        run = Run(URL)
        factory, connector = run.reactor.tcpClients[0][2], run.reactor.connectors[0]
        factory.clientConnectionFailed(connector, Failure(error.ConnectionRefusedError(111)))
        run.reactor.advance(1)
        assert run.status == [3]
        assert capsys.readouterr().err == (
            f"wsservice.client: cannot connect to {URL}: connection refused\n"
        )

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

    def test_a_second_one_does_not_wait(self) -> None:
        run = Run(URL)
        run.open()
        run.session.interrupt(signal.SIGTERM)
        run.session.interrupt(signal.SIGTERM)
        assert run.status == [143]

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
