"""A node with workers, as other nodes see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..admin.people import People
from ..cluster import Doing
from .supervisor import Supervisor


class OverallHome:
    """See `cluster.Home`: all workers as one, whose connections are `people`."""

    def __init__(
        self, supervisor: Supervisor, people: People, reasons: Callable[[], list[str]]
    ) -> None:
        self.people = people
        self.reasons = reasons
        self._supervisor = supervisor

    async def doing(self) -> Doing:
        """As `Home` has it; of a worker that does not answer, what is known without it."""
        workers = self._supervisor.serving()
        answers = await self._supervisor.ask(workers, "doing")
        said = [each for each in answers if isinstance(each, Mapping)]
        silent = [
            worker
            for worker, answer in zip(workers, answers, strict=True)
            if not isinstance(answer, Mapping)
        ]
        return Doing(
            workers=len(workers),
            connections=sum(each["connections"] for each in said)
            + sum(worker.load for worker in silent),
            lag=max((each["lag"] for each in said), default=0.0),
        )

    def start(self) -> None:
        """As `Home` has it: workers measure by themselves."""

    def stop(self) -> None:
        """As `Home` has it."""
