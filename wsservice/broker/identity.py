"""What a server is, by what it says of itself in answer to HELLO. PURE."""

from __future__ import annotations

import re
from typing import Any

import attrs

from ..escape import escape

OLDEST = 6
"""The first version that speaks RESP3, and so knows HELLO."""

_SHARDED_SINCE = 7
"""The first version of Redis with sharded pub/sub, which Valkey has had from its beginning."""

_SHOWN = 100
"""Characters shown of what it says."""

_NAMES = {"redis": "Redis", "valkey": "Valkey"}
_VERSION = re.compile(r"([0-9]{1,4})(?:\.[0-9]{1,4}){0,3}")


@attrs.frozen
class Identity:
    """What a server is. `problem` is why it is not the right one, None if it is."""

    name: str
    """Such as "Redis 7.0.15", printable."""
    is_sharded: bool
    """Whether it has sharded pub/sub: by its version, so that all nodes come to the same."""
    problem: str | None


def identity_of(said: Any) -> Identity:
    """The identity in an answer, whatever that is."""
    facts = said if isinstance(said, dict) else {}
    server, version, role, mode = (
        escape(value.decode("latin-1")[:_SHOWN]) if isinstance(value, bytes) else ""
        for value in map(facts.get, (b"server", b"version", b"role", b"mode"))
    )
    match = _VERSION.match(version)
    sharded = server == "valkey" or (match is not None and int(match[1]) >= _SHARDED_SINCE)
    name = f"{_NAMES.get(server, server)} {version}".strip()
    return Identity(name, sharded, _problem(role, mode))


def _problem(role: str, mode: str) -> str | None:
    if mode == "cluster":
        return "it is one of a cluster of Redis, which is not supported; give several --broker"
    if role not in ("master", ""):
        return f"it is a {role}, which takes nothing"
    return None
