from __future__ import annotations

from typing import Any

import pytest

from wsservice.admin.answers import closed, sent, traced, unanswered
from wsservice.admin.exchange import Answer, Stream
from wsservice.directory.outcomes import (
    SendOutcome,
    TracedElsewhere,
    TraceRefusal,
    UnansweredError,
    Unreached,
)


def said(answer: Any) -> tuple[int, bytes]:
    assert isinstance(answer, Answer)
    assert answer.headers[0] == ("Content-Type", "application/json")
    return answer.status, answer.body


GONE = (404, b'{"error":"there is no connection a.7"}\n')
NOT_OPEN = (409, b'{"error":"connection a.7 is not open yet"}\n')


def test_one_that_is_closed_is_closing() -> None:
    assert said(closed("a.7", True)) == (202, b'{"closing":"a.7"}\n')
    assert said(closed("a.7", False)) == GONE


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (SendOutcome.HANDED, (200, b'{"handed":1,"dropped":0}\n')),
        (SendOutcome.DROPPED, (200, b'{"handed":0,"dropped":1}\n')),
        (SendOutcome.OPENING, NOT_OPEN),
        (SendOutcome.CLOSING, (409, b'{"error":"connection a.7 is closing"}\n')),
        (SendOutcome.GONE, GONE),
    ],
)
def test_a_message_to_one(outcome: SendOutcome, expected: tuple[int, bytes]) -> None:
    assert said(sent("a.7", outcome)) == expected


def test_each_outcome_of_a_message_has_an_answer() -> None:
    assert len({said(sent("a.7", each)) for each in SendOutcome}) == len(SendOutcome)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (TraceRefusal.GONE, GONE),
        (TraceRefusal.OPENING, NOT_OPEN),
        (
            TraceRefusal.TOO_MANY,
            (503, b'{"error":"8 traces are going on; end one of them"}\n'),
        ),
    ],
)
def test_one_that_is_not_traced(outcome: Any, expected: tuple[int, bytes]) -> None:
    assert said(traced("a.7", outcome)) == expected


@pytest.mark.parametrize(
    ("host", "where"), [("host-b", b"ask b, on host-b, for /"), (None, b"ask b, for /")]
)
def test_one_that_is_traced_elsewhere(host: str | None, where: bytes) -> None:
    what = b"connection a.7 is traced by its own node alone: " + where + b"connections/7/trace"
    answer = traced("a.7", TracedElsewhere("b", 7, host))
    assert said(answer) == (421, b'{"error":"' + what + b'"}\n')


def test_a_trace_is_a_stream_of_events() -> None:
    trace: Any = object()
    assert traced("a.7", trace) == Stream(
        trace,
        (
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Accel-Buffering", "no"),
        ),
    )


def test_one_that_is_not_reached() -> None:
    statuses = {each: unanswered(UnansweredError(each, "why")).status for each in Unreached}
    assert statuses == {
        Unreached.TOO_LONG: 413,
        Unreached.NOT_UNDERSTOOD: 502,
        Unreached.AWAY: 503,
        Unreached.UNKNOWN: 504,
    }
    assert said(unanswered(UnansweredError(Unreached.AWAY, "a is away"))) == (
        503,
        b'{"error":"a is away"}\n',
    )
