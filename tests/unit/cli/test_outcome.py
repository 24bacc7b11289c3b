"""The meaning of each end. `test_session` tests its effect in a run."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error

from wsservice.cli.goal import Goal
from wsservice.cli.outcome import (
    Outcome,
    close_code,
    is_answered,
    is_asked_for,
    outcome_of,
    outcome_of_failure,
)
from wsservice.cli.status import Status
from wsservice.errors import CertificateError, ConfigError, ConnectError, HandshakeError, TLSError

from ...support import CLOSE, TEXT, Connecting, close_payload, frame


def over(payload: bytes | None, ours: int | None = None) -> Any:
    """A connection that is over: what close frame the server sent, after our close or not."""
    connecting = Connecting()
    connecting.server.accept()
    if ours is not None:
        connecting.protocol.sendClose(ours)
    if payload is not None:
        connecting.server.send(frame(CLOSE, payload, masked=False))
    connecting.server.lose(None if payload is not None else error.ConnectionLost())
    return connecting.protocol


LOST = "the connection was lost without a close frame"


@pytest.mark.parametrize(
    ("connection", "outcome"),
    [
        (over(close_payload(1000)), Outcome(Status.OK, "the server closed with 1000", True)),
        (over(b""), Outcome(Status.OK, "the server closed", True)),
        (over(close_payload(1001)), Outcome(Status.OK, "the server closed with 1001")),
        (over(close_payload(4001)), Outcome(Status.OTHER_CODE, "the server closed with 4001")),
        (over(close_payload(1000), 1000), Outcome(Status.OK, "closed with 1000", True)),
        (over(close_payload(4001), 4001), Outcome(Status.OK, "closed with 4001", True)),
        (over(close_payload(4002), 4001), Outcome(8, "the server closed with 4002")),  # type: ignore[arg-type]
        (over(None), Outcome(Status.LOST, LOST)),
        (over(None, 1000), Outcome(Status.LOST, LOST)),
    ],
    ids=lambda each: each.said if isinstance(each, Outcome) else "",
)
def test_an_end_by_itself(connection: Any, outcome: Outcome) -> None:
    assert outcome_of(connection, Goal()) == outcome


def test_an_end_of_tcp_is_a_loss() -> None:
    connecting = Connecting()
    connecting.server.accept()
    connecting.protocol.readConnectionLost()
    connecting.server.lose()
    assert outcome_of(connecting.protocol, Goal()) == Outcome(Status.LOST, LOST)


def test_a_server_that_says_nothing_is_lost_too() -> None:
    connecting = Connecting(ping_interval=1, ping_timeout=1)
    connecting.server.accept()
    connecting.clock.pump([1] * 3)
    aborted = [connecting.server.aborted]  # not yet: it may read why
    connecting.clock.advance(connecting.config.close_timeout)
    aborted.append(connecting.server.aborted)
    assert aborted == [False, True]
    connecting.server.lose(error.ConnectionAborted())
    outcome = outcome_of(connecting.protocol, Goal())
    assert outcome == Outcome(Status.LOST, "closed with 1011 (keepalive ping timeout)")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (4001, Outcome(Status.OK, "the server closed with 4001", True)),
        (1000, Outcome(Status.NOT_IN_TIME, "the server closed with 1000, not with 4001")),
        (4002, Outcome(Status.OTHER_CODE, "the server closed with 4002, not with 4001")),
    ],
)
def test_one_that_was_waited_for_or_not(code: int, outcome: Outcome) -> None:
    assert outcome_of(over(close_payload(code)), Goal(expect_close=4001)) == outcome


def test_what_did_not_come_is_said() -> None:
    said = outcome_of(over(None), Goal(count=2)).said
    assert said == f"{LOST} after 0 of 2 messages"
    outcome = outcome_of(over(close_payload(1000)), Goal(count=2))
    assert outcome.status == Status.NOT_IN_TIME
    assert outcome.said == "the server closed with 1000 after 0 of 2 messages"


def test_who_closed_and_whether_it_was_answered() -> None:
    by_server, by_us, unanswered = over(b""), over(b"", 1000), over(None, 1000)
    assert [is_asked_for(each) for each in (by_server, by_us, unanswered)] == [False, True, True]
    assert [is_answered(each) for each in (by_server, by_us, unanswered)] == [False, True, False]
    assert [close_code(each) for each in (by_server, by_us, unanswered)] == [1005, 1005, None]


def test_a_rule_that_was_broken_is_not_what_we_asked_for() -> None:
    connecting = Connecting()
    connecting.server.accept().send(b"\xc1\x01x")
    connecting.server.lose()
    assert not is_asked_for(connecting.protocol)
    outcome = outcome_of(connecting.protocol, Goal())
    assert outcome.status == Status.OTHER_CODE
    assert outcome.said.startswith("closed with 1002: ")


def test_one_that_is_broken_after_our_close_is_not_named_by_its_code() -> None:
    connecting = Connecting(max_message_size=3)
    connecting.server.accept()
    connecting.protocol.sendClose(1000)
    connecting.server.send(frame(TEXT, b"hello", masked=False))
    connecting.server.lose()
    outcome = outcome_of(connecting.protocol, Goal())
    assert outcome == Outcome(Status.OTHER_CODE, "given up: message too big")


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (ConfigError("wrong"), Status.USAGE),
        (ConnectError("refused"), Status.NO_CONNECTION),
        (TLSError("broken off"), Status.NO_TLS),
        (CertificateError("not trusted"), Status.NO_TLS),
        (HandshakeError("401", 401), Status.REFUSED),
    ],
    ids=repr,
)
def test_what_kept_a_connection_from_opening(problem: Exception, status: Status) -> None:
    assert outcome_of_failure(problem) == Outcome(status, str(problem))


def test_of_what_nobody_foresaw_too() -> None:
    outcome = outcome_of_failure(UnicodeError("unforeseen\n"))
    assert outcome == Outcome(Status.NO_CONNECTION, "UnicodeError: unforeseen\\n")
