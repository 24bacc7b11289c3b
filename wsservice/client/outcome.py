"""What the end of a connection means for a run, or that there was none: status and words."""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import ConfigError, ConnectError, HandshakeError, TLSError
from ..escape import escape
from ..policy import CloseCode
from .ended import why_ended
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
    """The exit status, and a printable line, which a script need not hear if all `is_well`."""

    status: Status
    said: str
    is_well: bool = False


def is_asked_for(connection: Any) -> bool:
    """Whether the connection is closed since this end wanted that, and not for a broken rule."""
    return bool(connection.closedByMe) and not connection.failedByMe


def is_answered(connection: Any) -> bool:
    """Whether the server answered our close: then it has all that was sent before."""
    return bool(connection.wasClean and connection.closedByMe)


def close_code(connection: Any) -> int | None:
    """The code that the server closed with, 1005 for a close without one, None for no close."""
    if not connection.wasClean:
        return None
    code = connection.remoteCloseCode
    return int(CloseCode.NO_STATUS if code is None else code)


def outcome_of(connection: Any, goal: Goal) -> Outcome:
    """Of a connection that is over, where that was waited for."""
    code = close_code(connection)
    if code is not None:
        return _closed(connection, goal, code)
    if connection.wasCloseHandshakeTimeout:
        seconds = connection.factory.config.close_timeout
        said = f"the server did not answer our close within {seconds:g} s"
        return Outcome(Status.NOT_IN_TIME, said)
    if connection.failedByMe:
        # Our close may have been sent before, with a code that was for something else.
        code = connection.localCloseCode
        said = "given up" if code is None or _is_of_choice(code) else f"closed with {code}"
        problem = escape(str(connection.wasNotCleanReason))
        return Outcome(Status.OTHER_CODE, f"{said}: {problem}")
    if connection.closedByMe:
        return Outcome(Status.LOST, f"the connection was lost without a close frame{goal.progress}")
    return Outcome(Status.LOST, f"{why_ended(connection)}{goal.progress}")


def _is_of_choice(code: int) -> bool:
    """Whether it is a code that somebody closes with who chooses to."""
    return code == CloseCode.NORMAL or code >= 3000


def _closed(connection: Any, goal: Goal, code: int) -> Outcome:
    # The server may only have answered a close with this code.
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
    """Of what kept a connection from being opened."""
    status = next(_FAILURES[kind] for kind in _FAILURES if isinstance(error, kind))
    return Outcome(status, str(error))
