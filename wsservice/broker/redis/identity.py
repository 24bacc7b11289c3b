"""Read the name, version and role of a server in its answer to HELLO. PURE."""

from __future__ import annotations

import re
from typing import Any

import attrs

from ...escape import escape

OLDEST = 6
"""The first version that speaks RESP3 and knows HELLO."""

MOST_OF_IDENTITY = 1024
"""The most elements of an answer to HELLO: seven pairs, and about nine more for each module."""

_SHARDED_SINCE = 7
"""The first version of Redis with sharded pub/sub, which Valkey has had from its beginning."""

_SHOWN = 100
"""The most characters shown of each value."""

_NAMES = {"redis": "Redis", "valkey": "Valkey"}
_VERSION = re.compile(r"([0-9]{1,4})(?:\.[0-9]{1,4}){0,3}")


@attrs.frozen
class Identity:
    """The identity of a server. `problem` says why it cannot be used, and is None if it can."""

    name: str
    """Its name and version, such as "Redis 7.0.15", printable."""
    is_sharded: bool
    """True if it has sharded pub/sub. The version decides, so that all nodes decide alike."""
    problem: str | None


def identity_of(said: Any) -> Identity:
    """Return the identity in an answer to HELLO. An answer of another form has an empty name."""
    # A server may answer anything, so each value is checked and none is required.
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
    # A server that tells no role is believed.
    if role not in ("master", ""):
        return f"it is a {role}, which accepts no writes"
    return None
