"""Why a connection is over, or is about to be."""

from __future__ import annotations

from typing import Any

from ..errors import ConnectionClosed
from ..escape import escape
from ..policy import CloseCode

_IN_ORDER = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)


def why_ended(connection: Any) -> ConnectionClosed:
    """The error for whoever wants something of a connection that is closing or closed."""
    if connection.failedByMe:
        code, reason = connection.localCloseCode, connection.wasNotCleanReason or ""
        return _ended(f"closed with {code}", code or CloseCode.ABNORMAL, reason)
    by_us = bool(connection.closedByMe)
    if connection.wasClean:
        code, reason = connection.remoteCloseCode, connection.remoteCloseReason or ""
        who = "the connection was closed" if by_us else "the server closed"
        said = who if code is None else f"{who} with {code}"
        code = CloseCode.NO_STATUS if code is None else code
        return _ended(said, code, reason, by_us or code in _IN_ORDER)
    if by_us and connection.state == connection.STATE_CLOSING:
        return _ended("the connection is closing", connection.localCloseCode, "", True)
    if by_us:
        return _ended("the server did not answer our close", CloseCode.ABNORMAL, "", True)
    # What is ours to know: the network's own words would only say the same again.
    is_ours = connection.droppedByMe and not connection._peer_finished
    reason = connection.wasNotCleanReason if is_ours else ""
    return _ended("the connection was lost without a close frame", CloseCode.ABNORMAL, reason or "")


def _ended(said: str, code: int | None, reason: str, in_order: bool = False) -> ConnectionClosed:
    because = f" ({escape(reason)})" if reason else ""
    number = int(CloseCode.NO_STATUS if code is None else code)
    return ConnectionClosed(said + because, number, reason, in_order)
