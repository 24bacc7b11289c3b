"""Turn the end of a connection, or the failure to open one, into an exit status and words."""

from __future__ import annotations

from typing import Any

import attrs

from ..client.ended import why_ended
from ..config.close_codes import CloseCode
from ..errors import ConfigError, ConnectError, HandshakeError, TLSError
from ..escape import escape
from .goal import Goal
from .status import Status

_IN_ORDER = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)

_FAILURES = {
    ConfigError: Status.USAGE,
    TLSError: Status.NO_TLS,  # which is a ConnectError too
    ConnectError: Status.NO_CONNECTION,
    HandshakeError: Status.REFUSED,
}


@attrs.frozen
class Outcome:
    """The exit status, and a printable line. A script need not print it if `is_well`."""

    status: Status
    said: str
    is_well: bool = False


def is_asked_for(connection: Any) -> bool:
    """Return True if this end closed the connection by choice, not because a rule was broken."""
    return bool(connection.closedByMe) and not connection.failedByMe


def is_answered(connection: Any) -> bool:
    """Return True if the server answered our close: it then has all that was sent before."""
    return bool(connection.wasClean and connection.closedByMe)


def close_code(connection: Any) -> int | None:
    """Return the code of the server's close: 1005 for a close without a code, None for no close."""
    if not connection.wasClean:
        return None
    code = connection.remoteCloseCode
    return int(CloseCode.NO_STATUS if code is None else code)


def outcome_of(connection: Any, goal: Goal) -> Outcome:
    """Return the outcome of a connection that ended, given the goal of the run."""
    code = close_code(connection)
    if code is not None:
        return _closed(connection, goal, code)
    if connection.wasCloseHandshakeTimeout:
        seconds = connection.factory.config.close_timeout
        said = f"the server did not answer our close within {seconds:g} s"
        return Outcome(Status.NOT_IN_TIME, said)
    if connection.keepalive_timed_out:
        return Outcome(Status.LOST, f"{why_ended(connection)}{goal.progress}")
    if connection.failedByMe:
        # Our close may have been sent before, with another code.
        code = connection.failed_with
        said = "given up" if code is None else f"closed with {code}"
        problem = escape(str(connection.wasNotCleanReason))
        return Outcome(Status.OTHER_CODE, f"{said}: {problem}")
    if connection.closedByMe:
        return Outcome(Status.LOST, f"the connection was lost without a close frame{goal.progress}")
    return Outcome(Status.LOST, f"{why_ended(connection)}{goal.progress}")


def _closed(connection: Any, goal: Goal, code: int) -> Outcome:
    # A server may repeat our own code in its answer to our close.
    ours = bool(connection.closedByMe) and connection.localCloseCode == code
    expected = code == goal.expect_close
    said = "closed" if ours else "the server closed"
    said += f" with {code}" if code != CloseCode.NO_STATUS else ""
    reason = connection.remoteCloseReason
    said += f" ({escape(reason)})" if reason else ""
    normal = ours or code in _IN_ORDER
    if not goal.reached(code):
        but = goal.progress or f", not with {goal.expect_close}"
        return Outcome(Status.NOT_IN_TIME if normal else Status.OTHER_CODE, said + but)
    status = Status.OK if normal or expected else Status.OTHER_CODE
    return Outcome(
        status, said, ours or expected or code in (CloseCode.NORMAL, CloseCode.NO_STATUS)
    )


def outcome_of_failure(error: Exception) -> Outcome:
    """Return the outcome of a failure to open a connection."""
    for kind, status in _FAILURES.items():
        if isinstance(error, kind):
            return Outcome(status, str(error))
    # An error that nobody foresaw ends the attempt all the same.
    return Outcome(Status.NO_CONNECTION, escape(f"{type(error).__name__}: {error}"))
