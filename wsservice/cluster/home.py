"""Describe this node to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, Protocol, cast

import attrs

from ..channels.contract import Hub
from ..directory.lag import Lag
from ..directory.people import LocalPeople, People
from ..directory.readiness import Check, reasons_of
from ..directory.tracing import Traces


@attrs.frozen
class Doing:
    """The load of a node.

    `workers` is the number of serving processes, `connections` that of its connections, and `lag`
    the largest lag of its reactors in the last ten seconds, in seconds.
    """

    workers: int
    connections: int
    lag: float


class Home(Protocol):
    """The node that runs here."""

    people: People

    async def doing(self) -> Doing:
        """Return its load of now."""

    def reasons(self) -> list[str]:
        """Return the reasons why it is not ready; an empty list if it is."""

    def start(self) -> None:
        """Start to measure the lag of the reactor."""

    def stop(self) -> None:
        """Stop measuring it."""


class LocalHome:
    """A node in one process. `people` finds its connections; `everybody` counts them."""

    def __init__(
        self,
        people: People,
        everybody: Sized,
        reasons: Callable[[], list[str]],
        reactor: Any,
    ) -> None:
        self.people = people
        self.reasons = reasons
        self._everybody = everybody
        self._lag = Lag(reactor)

    async def doing(self) -> Doing:
        """Return one worker, the connections of this process, and its lag."""
        return Doing(1, len(self._everybody), self._lag.lately)

    def start(self) -> None:
        """Start to measure the lag of this reactor. Idempotent."""
        self._lag.start()

    def stop(self) -> None:
        """Stop measuring it. Idempotent."""
        self._lag.stop()


def local_home(hub: Hub, people: People | None, checks: Sequence[Check], reactor: Any) -> LocalHome:
    """Return the node of a service in one process.

    `people` are the connections of `hub`; by default they are made here.
    """
    if people is None:
        people = LocalPeople(lambda: cast("Iterable[Any]", hub), hub, Traces(reactor))
    return LocalHome(people, hub, reasons_of(checks), reactor)
