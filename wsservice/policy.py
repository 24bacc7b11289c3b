"""What may be done, and what is said when it may not. PURE."""

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
    """A behaviour failed."""
    TRY_AGAIN_LATER = 1013


def channel_of(path: str) -> str:
    """The channel of a URL's path: the path without slashes at its ends."""
    return path.strip("/")
