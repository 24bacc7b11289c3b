"""Add up the traffic of connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.task import deferLater

from ..metrics import Traffic

_AT_ONCE = 2000
"""Connections that are asked in one turn of the reactor."""


class CountedConnection(Protocol):
    """A connection, as a sum needs it."""

    def traffic(self) -> Traffic:
        """Return the messages and octets that passed on it."""


async def passed_on(
    past: Traffic, connections: Sequence[CountedConnection], reactor: Any
) -> Traffic:
    """Return the traffic of `connections` and of the `past` ones together.

    It asks some connections in each turn of the reactor. A connection that ends meanwhile is still
    asked, and is not yet in `past`, which was taken at the beginning. So no sum ever decreases.
    """
    for start in range(0, len(connections), _AT_ONCE):
        if start:
            await deferLater(reactor, 0)
        part = [each.traffic() for each in connections[start : start + _AT_ONCE]]
        past = Traffic(*map(sum, zip(past, *part, strict=True)))
    return past
