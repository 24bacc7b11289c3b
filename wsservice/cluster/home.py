"""This node, as the others see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, Protocol, cast

import attrs

from ..admin import Admin, Check
from ..admin.lag import Lag
from ..admin.people import LocalPeople, People
from ..admin.tracing import Traces
from ..hub import LocalHub


@attrs.frozen
class Doing:
    """What a node does: its processes that serve, its connections, and how late its reactor was,
    at worst in the last ten seconds."""

    workers: int
    connections: int
    lag: float


class Home(Protocol):
    """A node that is here."""

    people: People

    async def doing(self) -> Doing:
        """What it does now."""

    def reasons(self) -> list[str]:
        """Why it is not ready."""

    def start(self) -> None:
        """Measure what is measured all the time."""

    def stop(self) -> None:
        """Measure it no more."""


def reasons_of(checks: Sequence[Check]) -> Callable[[], list[str]]:
    """What tells why a service is not ready, by its checks, which may become more."""
    return lambda: [reason for check in checks if (reason := check()) is not None]


class LocalHome:
    """A node in one process, whose connections are `people`, all of them `everybody`."""

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
        """As `Home` has it."""
        return Doing(1, len(self._everybody), self._lag.lately)

    def start(self) -> None:
        """As `Home` has it."""
        self._lag.start()

    def stop(self) -> None:
        """As `Home` has it."""
        self._lag.stop()


def local_home(
    hub: LocalHub, admin: Admin | None, checks: Sequence[Check], reactor: Any
) -> LocalHome:
    """The node that a service in one process is."""
    if admin is not None:
        people = admin.people
    else:
        people = LocalPeople(lambda: cast("Iterable[Any]", hub), hub, Traces(reactor))
    return LocalHome(people, hub, reasons_of(checks), reactor)
