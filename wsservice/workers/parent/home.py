"""A node with workers, seen by other nodes."""

from __future__ import annotations

from collections.abc import Callable

from ...cluster import Doing
from ...directory.people import People
from ..wire.orders import TellDoing
from .requests import WITHIN, Unanswered
from .supervisor import TICK, Supervisor


class OverallHome:
    """All workers as one `cluster.Home`. `people` are their connections."""

    def __init__(
        self, supervisor: Supervisor, people: People, reasons: Callable[[], list[str]]
    ) -> None:
        self.people = people
        self.reasons = reasons
        self._supervisor = supervisor

    async def doing(self) -> Doing:
        """Return the state of this node, for `Home`.

        For a worker that does not answer, the parent uses its own records. Such a worker counts
        as late by the second it had to answer, or by all the pings that it did not answer.
        """
        workers = self._supervisor.serving()
        answers = await self._supervisor.ask(workers, TellDoing())
        doing = Doing(len(workers), 0, 0.0)
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, Unanswered):
                count, lag = worker.load, max(WITHIN, worker.silence * TICK)
            else:
                count, lag = answer.connections, answer.lag
            doing = Doing(doing.workers, doing.connections + count, max(doing.lag, lag))
        return doing

    def start(self) -> None:
        """Do nothing: workers measure by themselves."""

    def stop(self) -> None:
        """Do nothing: workers measure by themselves."""
