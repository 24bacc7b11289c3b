"""Close codes, and the reason of a close: what may be sent, and what may come. PURE."""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """The close codes that wsservice sends or speaks of (RFC 6455, 7.4.1; the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The service stops."""
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    """Never on the wire: the peer's close frame had no code."""
    ABNORMAL = 1006
    """Never on the wire: the connection ended without a close frame."""
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    """A behaviour failed, or the peer did not answer a ping."""
    TRY_AGAIN_LATER = 1013


MOST_OF_REASON = 123
"""The largest size of a close reason, in octets (RFC 6455, 5.5)."""

_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014})
_ON_THE_WIRE = _SENDABLE | {1010}  # only clients send it, for a missing extension

SENDABLE = "1000 to 1003, 1007 to 1009, 1011 to 1014, or 3000 to 4999"
"""The codes that `is_sendable` allows, in words."""


def is_sendable(code: int) -> bool:
    """Return True if an application may close with a code (RFC 6455, 7.4; the IANA registry)."""
    return code in _SENDABLE or 3000 <= code <= 4999


def is_on_the_wire(code: int) -> bool:
    """Return True if a peer's close frame may have a code (RFC 6455, 7.4; the IANA registry)."""
    return code in _ON_THE_WIRE or 3000 <= code <= 4999


def checked_close(code: int, reason: str) -> bytes:
    """Return the octets of a close reason. Raises `ValueError` for a code or reason not allowed."""
    if isinstance(code, bool) or not isinstance(code, int) or not is_sendable(code):
        raise ValueError(f"close code {code!r} is not allowed; give {SENDABLE}")
    octets = reason.encode()
    if len(octets) > MOST_OF_REASON:
        allowed = f"give at most {MOST_OF_REASON} octets of UTF-8"
        raise ValueError(f"a reason of {len(octets)} octets is not allowed; {allowed}")
    return octets
