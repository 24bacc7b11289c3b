"""What happened on a connection, as JSON. PURE."""

from __future__ import annotations

import base64
import json
from typing import Any, Protocol

from ..counting import Traffic
from ..lines import rfc3339

CONNECT, MESSAGE, DISCONNECT = "connect", "message", "disconnect"


class Told(Protocol):
    """What is told of a connection."""

    id: str
    who: str
    since: float

    @property
    def close_code(self) -> int:
        """The code of the close frame that began the end."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it is on."""

    @property
    def user_agent(self) -> str:
        """What the peer says it is."""

    def traffic(self) -> Traffic:
        """What passed on it."""


_SHOWN = 256
"""Characters of what a peer said of itself."""


def connect(connection: Told, now: float) -> bytes:
    """It is open."""
    return _event(CONNECT, connection, now, user_agent=connection.user_agent[:_SHOWN])


def message(connection: Told, now: float, payload: bytes, is_binary: bool) -> bytes:
    """A message came."""
    if is_binary:
        return _event(MESSAGE, connection, now, data64=base64.b64encode(payload).decode())
    return _event(MESSAGE, connection, now, data=payload.decode(errors="replace"))


def disconnect(connection: Told, now: float, reason: str) -> bytes:
    """It is over. `reason` is the peer's text."""
    traffic = connection.traffic()
    return _event(
        DISCONNECT,
        connection,
        now,
        code=connection.close_code,
        reason=reason,
        seconds=round(max(0.0, now - connection.since), 3),
        messages={"received": traffic.messages_received, "sent": traffic.messages_sent},
    )


def _event(kind: str, connection: Told, now: float, **more: Any) -> bytes:
    said = {
        "type": kind,
        "time": rfc3339(now),
        "connection": connection.id,
        "peer": connection.who.partition(" ")[2],
        "channels": connection.channels,
        **more,
    }
    return json.dumps(said, separators=(",", ":")).encode()
