"""The program's connection, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error

from wsservice.cli import talk
from wsservice.cli.talk import Talk

from ...support import CLOSE, TEXT, Connecting, Server, close_payload, frame


class Session:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.wants_the_rest = True
        self.heard: list[Any] = []

    def received(self, payload: bytes, is_binary: bool) -> None:
        self.heard.append(payload)

    def has_room(self) -> None:
        self.heard.append("room")


class Run:
    def __init__(self, **settings: Any) -> None:
        self.session = Session()
        protocol = type("Tested", (Talk,), {"session": self.session})
        connecting = Connecting(protocol, **settings)
        self.clock = connecting.clock
        self.talk: Talk = connecting.protocol
        self.server: Server = connecting.server.accept()

    def closing(self) -> Run:
        """Our close frame is sent, and never answered."""
        self.talk.sendClose(1000)
        assert self.server.frames() == [(CLOSE, close_payload(1000))]
        return self

    def given_up(self) -> bool:
        return self.server.aborted


def text(payload: bytes) -> bytes:
    return frame(TEXT, payload, masked=False)


def test_it_tells_its_session() -> None:
    run = Run()
    run.server.send(text(b"hi"))
    run.talk.pauseProducing()
    run.talk.resumeProducing()
    assert run.session.heard == [b"hi", "room"]


def test_what_is_sent_together_leaves_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    writes: list[bytes] = []

    def count() -> int:
        return len(writes)

    monkeypatch.setattr(run.talk._queue, "_write", writes.append)
    with run.talk.together():
        run.talk.sendMessage(b"1")
        with run.talk.together():
            run.talk.sendMessage(b"2")
        assert count() == 0
    assert count() == 1
    run.talk.sendMessage(b"3")
    assert count() == 2


def test_it_reads_on_while_the_server_does_not() -> None:
    # As ours does, the server may not read before it could send its answers.
    run = Run(send_buffer=1000)
    run.talk.pauseProducing()
    run.talk.sendMessage(b"x" * 600)
    run.server.send(text(b"answer"))
    assert not run.server.transport.is_paused()
    assert run.session.heard == [b"answer"]


class TestClose:
    def test_a_server_that_says_nothing_is_given_up_after_the_close_timeout(self) -> None:
        run = Run().closing()
        run.clock.advance(4.9)
        assert not run.given_up()
        run.clock.advance(0.1)
        assert run.given_up()
        run.server.lose(error.ConnectionAborted())
        assert run.talk.wasCloseHandshakeTimeout

    def test_what_still_comes_is_waited_for(self) -> None:
        run = Run().closing()
        for _ in range(5):
            run.clock.advance(3)
            run.server.send(text(b"more"))
        assert not run.given_up()
        run.clock.advance(10)
        assert run.given_up()

    def test_but_not_for_ever(self) -> None:
        run = Run().closing()
        for second in range(65):
            assert not run.given_up(), second
            run.server.send(text(b"for ever"))
            run.clock.advance(1)
        assert run.given_up()

    def test_nor_where_nobody_wants_it(self) -> None:
        run = Run().closing()
        run.session.wants_the_rest = False
        for _ in range(5):
            run.server.send(text(b"for ever"))
            run.clock.advance(1)
        assert run.given_up()

    def test_the_time_in_which_we_do_not_read_does_not_count(self) -> None:
        run = Run().closing()
        run.talk.pause_reading()
        run.clock.pump([5] * 100)
        assert not run.given_up()
        run.server.send(text(b"late"))
        run.talk.resume_reading()
        assert run.session.heard[-1] == b"late"
        run.clock.pump([5] * 2)
        assert run.given_up()

    def test_a_server_that_takes_what_we_sent_slowly_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_the_way = [0]
        monkeypatch.setattr(talk, "unacknowledged", lambda transport: on_the_way[0])
        run = Run().closing()
        for octets in range(50, -1, -1):
            on_the_way[0] = octets
            run.clock.advance(5)
        assert not run.given_up()
        # All is on its machine, and may well wait there to be read.
        run.clock.pump([5] * 12)
        assert not run.given_up()
        run.clock.advance(5)
        assert run.given_up()

    def test_one_that_takes_nothing_is_given_a_minute(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(talk, "unacknowledged", lambda transport: 1)
        run = Run().closing()
        run.clock.pump([5] * 13)
        assert not run.given_up()
        run.clock.advance(5)
        assert run.given_up()
