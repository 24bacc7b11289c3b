"""Closing: what a behaviour says, what it is told, and which codes may be sent."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.exception import Disconnected
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from wsservice.client.protocol import ClientProtocol

from ...support import (
    BINARY,
    CLOSE,
    TEXT,
    Connecting,
    Logged,
    Recorder,
    Served,
    close_payload,
    frame,
)

SENDABLE = {*range(1000, 1004), 1007, 1008, 1009, *range(1011, 1015), *range(3000, 5000)}
EDGES = [-1, 0, 999, *range(1000, 1016), 2999, 3000, 4999, 5000, 65536]


class Both:
    """An open connection of a server or of a client, and its peer."""

    def __init__(self, end: str) -> None:
        self.peer: Any
        if end == "server":
            self.peer = Served(Recorder, greeting="").connect().open()
        else:
            self.peer = Connecting(ClientProtocol).server.accept()
        self.masked = end == "server"
        self.protocol: Any = self.peer.protocol

    def answer(self, code: int) -> None:
        self.peer.send(frame(CLOSE, close_payload(code), masked=self.masked))


@pytest.fixture(params=["server", "client"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


@pytest.mark.parametrize("end", ["server", "client"])
@pytest.mark.parametrize("by", ["close", "sendClose"])
@pytest.mark.parametrize("code", EDGES)
def test_a_close_has_any_code_that_is_for_applications(end: str, by: str, code: int) -> None:
    both = Both(end)
    close = getattr(both.protocol, by)
    if code in SENDABLE:
        assert close(code, "why: \u00e4") is True
        assert both.peer.frames() == [(CLOSE, close_payload(code, "why: \u00e4".encode()))]
        both.answer(code)
        both.peer.lose()
        assert both.protocol.wasClean
    else:
        with pytest.raises(ValueError, match=f"close code {code} is not allowed; give 1000 to"):
            close(code, "why")
        assert both.peer.frames() == []


@pytest.mark.parametrize("by", ["close", "sendClose"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, "x" * 124), (1008, "\u00e4" * 62), (1000, "\ud800"), (True, ""), ("1000", "")],
)
def test_what_cannot_be_sent_is_an_error_and_closes_nothing(
    both: Both, by: str, code: int, reason: str
) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        getattr(both.protocol, by)(code, reason)
    assert both.peer.frames() == []
    assert both.protocol.state == both.protocol.STATE_OPEN


@given(st.one_of(st.integers(), st.integers(990, 5010)), st.text(max_size=130))
def test_any_code_and_reason_are_sent_whole_or_not_at_all(code: int, reason: str) -> None:
    both = Both("server")
    octets = reason.encode()
    try:
        both.protocol.close(code, reason)
    except ValueError:
        assert code not in SENDABLE or len(octets) > 123
        assert both.peer.frames() == []
    else:
        assert both.peer.frames() == [(CLOSE, close_payload(code, octets))]


def test_a_close_may_have_no_code(both: Both) -> None:
    with pytest.raises(ValueError, match="only beside a code"):
        both.protocol.sendClose(reason="why")
    both.protocol.sendClose()
    assert both.peer.frames() == [(CLOSE, b"")]


def test_a_close_without_a_word_is_1000(both: Both) -> None:
    both.protocol.close()
    assert both.peer.frames() == [(CLOSE, close_payload(1000))]


def test_only_the_first_close_is_sent(both: Both) -> None:
    assert both.protocol.close(1008)
    assert both.protocol.close(1011) is False
    assert both.peer.frames() == [(CLOSE, close_payload(1008))]
    both.answer(1008)
    both.peer.lose()
    assert both.protocol.close() is False
    assert both.protocol.sendClose(1000) is False


def test_what_was_sent_before_comes_before_a_close(both: Both) -> None:
    both.protocol.pauseProducing()
    both.protocol.sendMessage(b"last words", True)
    both.protocol.close(1001, "moved")
    assert both.peer.frames() == []
    both.protocol.resumeProducing()
    assert both.peer.frames() == [
        (BINARY, b"last words"),
        (CLOSE, close_payload(1001, b"moved")),
    ]


def test_a_connection_that_is_not_open_yet_cannot_be_closed() -> None:
    client = Served().connect()
    with pytest.raises(Disconnected, match="once it is open"):
        client.protocol.close(1008)


def test_a_behaviour_is_told_what_the_peer_answered() -> None:
    client = Served(Recorder).connect().open()
    client.protocol.close(1012)
    client.close(1012)
    client.lose()
    assert client.protocol.seen == [("close", True, 1012)]


class Failing(Recorder):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        raise RuntimeError("not for the peer")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.seen.append((wasClean, code, reason))


def test_after_a_failing_callback_the_end_has_the_code_that_was_sent(logged: Logged) -> None:
    client = Served(Failing).connect().open()
    client.text("x")
    client.lose()
    assert client.frames() == [(CLOSE, close_payload(1011))]
    assert client.protocol.seen == [(False, 1011, "a callback failed")]
    assert client.protocol.close_code == 1011
    assert len(logged.failures) == 1


@pytest.mark.parametrize(
    ("octets", "code", "reason"),
    [
        (frame(3), 1002, "data frame using reserved opcode 3"),
        (frame(TEXT, b"\xff"), 1007, None),
        (frame(TEXT, b"x" * 101), 1009, "message too big"),
        (frame(CLOSE, close_payload(1005)), 1002, "invalid close code 1005"),
        (frame(CLOSE, close_payload(1000, b"\xff")), 1007, None),
    ],
)
def test_after_a_rule_was_broken_it_has_that_too(
    octets: bytes, code: int, reason: str | None
) -> None:
    client = Served(Failing, max_message_size=100, greeting="").connect().open()
    client.send(octets)
    ((_, payload),) = client.frames()
    client.lose()
    ((was_clean, told, why),) = client.protocol.seen
    assert (was_clean, told) == (False, code)
    assert payload == close_payload(code, why.encode())
    assert reason in (None, why)


def test_a_failure_while_it_closes_tells_of_no_frame_that_was_not_sent() -> None:
    client = Served(Failing).connect().open()
    client.protocol.close(1000)
    client.send(frame(3))
    client.lose()
    ((was_clean, code, _),) = client.protocol.seen
    assert (was_clean, code) == (False, 1006)


class FailingLater(Recorder):
    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        super().onMessage(payload, isBinary)
        self.work: Deferred[None] = Deferred()
        return self.work


def test_what_waited_for_a_callback_that_failed_is_counted_in_the_log(logged: Logged) -> None:
    client = Served(FailingLater).connect().open()
    for text in "123":
        client.text(text)
    client.protocol.work.errback(RuntimeError("no"))
    client.lose()
    assert client.protocol.seen == [(b"1", False), ("close", False, 1011)]
    assert "2 calls that waited behind it: not called" in logged.text
