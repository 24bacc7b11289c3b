"""Describe the events of a connection as JSON. PURE."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any, Protocol

from ..log.lines import rfc3339
from ..log.peer import peer_in, user_in
from ..metrics import Traffic
from ..server.admission import address_key

CONNECT, MESSAGE, DISCONNECT = "connect", "message", "disconnect"


class ToldConnection(Protocol):
    """The attributes of a connection that events report."""

    id: str
    who: str

    @property
    def seconds_connected(self) -> float:
        """Seconds since it was accepted."""

    @property
    def close_code(self) -> int:
        """The code of the close frame that began the end."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it is on."""

    @property
    def user_agent(self) -> str:
        """The User-Agent that the peer sent."""

    def traffic(self) -> Traffic:
        """Return the messages and octets that passed on it."""


_SHOWN = 256
"""The most characters of a User-Agent in an event."""


def peer_of(connection: ToldConnection) -> str:
    """Return the key of a peer: its IPv4 address, or its IPv6 network of 64 bits."""
    return _peer_at(peer_in(connection.who).rpartition(":")[0])


@lru_cache(1000)
def _peer_at(host: str) -> str:
    return address_key(host.strip("[]"))


def connect(connection: ToldConnection, now: float) -> bytes:
    """Return the event of a connection that opened at `now`, in seconds since 1970."""
    return _event(CONNECT, connection, now, user_agent=connection.user_agent[:_SHOWN])


def message(connection: ToldConnection, now: float, payload: bytes, is_binary: bool) -> bytes:
    """Return the event of a message that came."""
    if is_binary:
        return _event(MESSAGE, connection, now, data64=base64.b64encode(payload).decode())
    return _event(MESSAGE, connection, now, data=payload.decode(errors="replace"))


def disconnect(connection: ToldConnection, now: float, reason: str) -> bytes:
    """Return the event of a connection that ended. `reason` is the text of the peer's close."""
    traffic = connection.traffic()
    return _event(
        DISCONNECT,
        connection,
        now,
        code=connection.close_code,
        reason=reason,
        seconds=round(connection.seconds_connected, 3),
        messages={"received": traffic.messages_received, "sent": traffic.messages_sent},
    )


def _event(kind: str, connection: ToldConnection, now: float, **more: Any) -> bytes:
    said = {
        "type": kind,
        "time": rfc3339(now),
        "connection": connection.id,
        "peer": peer_in(connection.who),
        "channels": connection.channels,
        **({"user": user} if (user := user_in(connection.who)) else {}),
        **more,
    }
    return json.dumps(said, separators=(",", ":")).encode()
