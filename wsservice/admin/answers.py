"""Answer requests for one connection, from the outcome."""

from __future__ import annotations

from ..channels.outcome import Published
from ..directory.outcomes import (
    SendOutcome,
    TracedElsewhere,
    TraceRefusal,
    UnansweredError,
    Unreached,
)
from ..directory.people import TraceOutcome
from ..directory.tracing import MOST_TRACES
from .exchange import Answer, Stream, as_events, as_json, problem
from .publishing import answered

_STATUSES = {
    Unreached.TOO_LONG: 413,
    Unreached.NOT_UNDERSTOOD: 502,
    Unreached.AWAY: 503,
    Unreached.UNKNOWN: 504,
}


def closed(id_: str, was_there: bool) -> Answer:
    """Return the answer to a request to close a connection."""
    return as_json(202, {"closing": id_}) if was_there else _gone(id_)


def sent(id_: str, outcome: SendOutcome) -> Answer:
    """Return the answer to a request to send a message to a connection."""
    if outcome is SendOutcome.GONE:
        return _gone(id_)
    if outcome is SendOutcome.OPENING:
        return _not_open(id_)
    if outcome is SendOutcome.CLOSING:
        return problem(409, f"connection {id_} is closing")
    is_handed = outcome is SendOutcome.HANDED
    return answered(Published(int(is_handed), int(not is_handed)))


def traced(id_: str, outcome: TraceOutcome) -> Answer | Stream:
    """Return the answer to a request to trace a connection."""
    if isinstance(outcome, TracedElsewhere):
        return _elsewhere(id_, outcome)
    if outcome is TraceRefusal.GONE:
        return _gone(id_)
    if outcome is TraceRefusal.OPENING:
        return _not_open(id_)
    if isinstance(outcome, TraceRefusal):
        return problem(503, f"{MOST_TRACES} traces are going on; end one of them")
    return as_events(outcome)


def unanswered(error: UnansweredError) -> Answer:
    """Return the answer to a request whose outcome is missing."""
    return problem(_STATUSES[error.why], str(error))


def _gone(id_: str) -> Answer:
    return problem(404, f"there is no connection {id_}")


def _not_open(id_: str) -> Answer:
    return problem(409, f"connection {id_} is not open yet")


def _elsewhere(id_: str, outcome: TracedElsewhere) -> Answer:
    where = "" if outcome.host is None else f", on {outcome.host}"
    return problem(
        421,
        f"connection {id_} is traced by its own node alone: ask {outcome.node}{where},"
        f" for /connections/{outcome.number}/trace",
    )
