"""Explain why a connection ended, or is about to end."""

from __future__ import annotations

from typing import Any

from ..config.close_codes import CloseCode
from ..errors import ConnectionClosed
from ..escape import escape

_IN_ORDER = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)


def why_ended(connection: Any) -> ConnectionClosed:
    """Return the error for a caller who uses a connection that is closing or closed."""
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
    # The reason is kept only if it is ours: that of the network would repeat the message.
    is_ours = connection.droppedByMe and not connection.peer_finished
    reason = connection.wasNotCleanReason if is_ours else ""
    return _ended("the connection was lost without a close frame", CloseCode.ABNORMAL, reason or "")


def _ended(said: str, code: int | None, reason: str, in_order: bool = False) -> ConnectionClosed:
    because = f" ({escape(reason)})" if reason else ""
    number = int(CloseCode.NO_STATUS if code is None else code)
    return ConnectionClosed(said + because, number, reason, in_order)
