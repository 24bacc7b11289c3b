"""Answers, whole and not. `tests/unit/webhook/test_posting.py` has the rest."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from wsservice.client.web import asking
from wsservice.client.web.asking import Asker, WebAnswer


class Web:
    """A web server in memory, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        transport: Any = StringTransport()
        transport.abortConnection = self.end
        self.transport = transport
        monkeypatch.setattr(asking, "HostEndpoint", lambda *_: self)
        self.answers: list[WebAnswer] = []

    def connect(self, factory: Any) -> Any:
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)

    def ask(self, method: str = "GET", most: int = 200) -> Web:
        asker = Asker("http://keys.example/jwks.json", self.clock, patience=3, most=most)
        asker.ask(method, {"Accept": "*/*"}).addCallback(self.answers.append)
        return self

    def hear(self, *octets: bytes) -> Web:
        for each in octets:
            self.protocol.dataReceived(each)
        return self

    def end(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    return Web(monkeypatch)


def test_the_whole_answer(web: Web) -> None:
    web.ask().hear(b"HTTP/1.1 404 No\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 4\r\n\r\nno", b"ne")
    web.end()
    (answer,) = web.answers
    assert (answer.status, answer.problem, answer.body) == (404, "", b"none")
    assert answer.headers["x-a"] == "1"
    assert b"GET /jwks.json HTTP/1.1\r\n" in web.transport.value()
    assert "none" not in repr(answer)
    assert web.clock.getDelayedCalls() == []


def test_a_body_that_ends_with_its_connection_is_whole(web: Web) -> None:
    web.ask().hear(b"HTTP/1.1 200 OK\r\n\r\n{}").end()
    assert (web.answers[0].problem, web.answers[0].body) == ("", b"{}")


def test_a_body_that_breaks_off_is_not(web: Web) -> None:
    web.ask().hear(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}").end()
    assert web.answers[0].problem == "broke off its answer"


def test_a_body_that_is_too_large(web: Web) -> None:
    web.ask().hear(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"." * 100, b"." * 100)
    assert web.answers[0].problem == "answered with more than 200 octets"
    assert len(web.answers[0].body) == 100


def test_a_body_that_takes_too_long(web: Web) -> None:
    web.ask().hear(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    web.clock.advance(3)
    assert web.answers[0].problem == "gave no answer within 3 s"
