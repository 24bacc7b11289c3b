"""The admin face of a parent, for all workers together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.internet.defer import Deferred

from ...admin import Face
from ...admin.figures import Figures
from ...admin.publishing import Publishing
from ...broker.figures import Box, Meeting
from ...channels.contract import Sizes
from ...config.config import Config
from ...directory.readiness import Check
from ...metrics import Counts, Histogram, Traffic
from ...server.rates.limited import LIMITS
from ..child.sketch import estimated
from ..wire.orders import TellFigures
from .people import OverallPeople
from .process import Worker
from .requests import Unanswered
from .sums import added, outlasting
from .supervisor import Supervisor

if TYPE_CHECKING:
    from ...broker.hub import BrokerHub

_NOTHING = Traffic(0, 0, 0, 0, 0)

_COUNTERS = (
    "slow_closed",
    "slow_dropped",
    "slow_messages",
    "log_dropped",
    "bus_dropped",
    "memory_messages",
    "memory_queues",
    "message_timeouts",
    *LIMITS,
)
"""The names of the counts of workers."""


class Overall:
    """The figures of all workers, as of the last request.

    For a worker that is gone, or does not answer, they contain its last known figures.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        gauges: Callable[[], Mapping[str, float]],
        limited: Mapping[str, int],
    ) -> None:
        self._supervisor = supervisor
        self.gauges = gauges
        # What limits did in this process, which accepts the connections.
        self._limited = limited
        self._gone: dict[str, Any] = {}
        self._known: dict[Worker, dict[str, Any]] = {}
        # A sketch of the channels of each worker, without their names.
        self._channels: dict[Worker, Mapping[str, Any]] = {}
        self._all: dict[str, Any] = {}
        #: The number of workers that did not answer the last request.
        self.silent = 0

    async def refresh(self) -> None:
        """Ask all workers for their figures."""
        workers = self._supervisor.serving()
        answers = await self._supervisor.ask(workers, TellFigures())
        self.silent = sum(isinstance(answer, Unanswered) for answer in answers)
        for worker, answer in zip(workers, answers, strict=True):
            if not isinstance(answer, Unanswered):
                self._channels[worker] = answer["channels"]
                self.heard(worker, answer)
        total = self._gone
        for figures in self._known.values():
            total = added(total, figures)
        self._all = total

    def heard(self, worker: Worker, figures: Mapping[str, Any]) -> None:
        """Store the figures that a worker sent."""
        # These are not numbers that can be added up.
        self._known[worker] = {name: figures[name] for name in figures if name != "channels"}

    def lost(self, worker: Worker) -> None:
        """Forget a worker that is gone. Keep its counts."""
        self._channels.pop(worker, None)
        figures = self._known.pop(worker, None)
        if figures is not None:
            self._gone = added(self._gone, outlasting(figures))

    @property
    def traffic(self) -> Traffic:
        """Return the traffic of all connections since the start."""
        return Traffic(*map(int, self._all["traffic"])) if "traffic" in self._all else _NOTHING

    @property
    def held(self) -> int:
        """Return the number of current connections."""
        return int(self._all.get("held", 0))

    @property
    def each(self) -> Mapping[Worker, Mapping[str, Any]]:
        """Return the figures of each current worker."""
        return self._known

    # The methods of `broker.figures.Servers`

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self._all.get("broker", {}))

    @property
    def states(self) -> Mapping[str, Mapping[str, int]]:
        return dict(self._all.get("broker_states", {}))

    def known(self, name: str) -> dict[str, Any]:
        """Return one kind of figures, summed up over all workers, current and past."""
        return dict(self._all.get(name, {}))

    @property
    def webhook(self) -> Mapping[str, Any]:
        """Return the figures of the webhooks of all workers."""
        known: Mapping[str, Any] = self._all.get("webhook", {})
        return known

    @property
    def inbox(self) -> Box:
        """Return the figures of the inboxes of all workers."""
        return _Inbox(self._all.get("inbox", {}), self._all.get("inbox_states", {}))

    # The methods of `admin.figures.FiguresSource`

    @property
    def counts(self) -> Counts:
        return Counts.of(self._all.get("counts", {}))

    @property
    def publishing(self) -> Histogram:
        return Histogram.of(self._all.get("publishing", ()))

    @property
    def lag(self) -> Histogram:
        return Histogram.of(self._all.get("lag", ()))

    def connections(self) -> Iterable[Any]:
        return ()

    def sizes(self) -> Sizes:
        channels, largest = estimated(self._channels.values())
        return Sizes(int(self._all.get("open", 0)), channels, largest)

    def counters(self) -> Mapping[str, float]:
        known = self._all.get("counters", {})
        counters: dict[str, float] = {name: known.get(name, 0) for name in _COUNTERS}
        return added(counters, self._limited)  # type: ignore[no-any-return]

    @property
    def rate_waiting(self) -> int:
        """The connections of all workers that are not read because they send too fast."""
        return int(self._all.get("rate_waiting", 0))

    def memory(self) -> dict[str, float]:
        """Return the memory that unfinished messages and send queues take in all workers."""
        return {"message_memory": 0, "message_memory_max": 0, **self.known("memory_for_messages")}


class Met:
    """The Redis connections of all processes of a service. See `broker.figures.Meeting`."""

    def __init__(self, overall: Overall, meeting: Meeting) -> None:
        self._overall = overall
        self._meeting = meeting

    @property
    def figures(self) -> Mapping[str, int]:
        return dict(added(self._overall.known("meeting"), self._meeting.figures))

    @property
    def states(self) -> Mapping[str, int]:
        return dict(added(self._overall.known("meeting_states"), self._meeting.states))


class OverallWebhook:
    """The webhooks of all workers, for `webhook.figures`."""

    def __init__(self, overall: Overall) -> None:
        self._overall = overall

    @property
    def attempts(self) -> Mapping[str, int]:
        attempts = {"taken": 0, "failed": 0}
        attempts.update(self._overall.webhook.get("attempts", {}))
        return attempts

    @property
    def delivered(self) -> int:
        return int(self._overall.webhook.get("delivered", 0))

    @property
    def dropped(self) -> int:
        return int(self._overall.webhook.get("dropped", 0))

    @property
    def waiting(self) -> int:
        return int(self._overall.webhook.get("waiting", 0))


@attrs.frozen
class _Inbox:
    figures: Mapping[str, int]
    states: Mapping[str, int]


class OverallFigures(Figures):
    """The figures of a single process, summed up, and those of each worker."""

    def __init__(self, overall: Overall, supervisor: Supervisor, reactor: Any) -> None:
        self._overall = overall
        self._supervisor = supervisor
        super().__init__(overall, reactor)

    async def _add_up(self) -> None:
        await self._overall.refresh()
        self._traffic, self._held = self._overall.traffic, self._overall.held

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for `prometheus_client`."""
        yield from super().collect()
        yield GaugeMetricFamily(
            "wsservice_workers", "Workers that serve.", len(self._supervisor.ready_workers())
        )
        yield GaugeMetricFamily(
            "wsservice_workers_silent",
            "Workers that did not answer within a second, so that their figures are older.",
            self._overall.silent,
        )
        yield CounterMetricFamily(
            "wsservice_workers_lost",
            "Workers that ended without having been told to.",
            self._supervisor.lost,
        )
        yield CounterMetricFamily(
            "wsservice_publications_dropped",
            "Publications dropped because the queue to another worker was full.",
            self._overall.counters()["bus_dropped"] + self._supervisor.dropped,
        )
        cpu = CounterMetricFamily(
            "wsservice_worker_cpu_seconds", "CPU time of a worker.", labels=["worker"]
        )
        memory = GaugeMetricFamily(
            "wsservice_worker_resident_memory_bytes", "Memory of a worker.", labels=["worker"]
        )
        for slot in self._supervisor.slots:
            known = None if slot.current is None else self._overall.each.get(slot.current)
            if known is not None:
                cpu.add_metric([str(slot.number)], known["cpu"])
                memory.add_metric([str(slot.number)], known["memory"])
        yield from (cpu, memory)


class OverallAdmin(Face):
    """The admin face of a parent."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        supervisor: Supervisor,
        checks: list[Check],
        meeting: BrokerHub | None = None,
        limited: Mapping[str, int] | None = None,
    ) -> None:
        self._overall = Overall(supervisor, self._gauges, limited or {})
        self._most = config.max_connections
        self._supervisor = supervisor
        self._people = OverallPeople(supervisor)
        figures = OverallFigures(self._overall, supervisor, reactor)
        # The bus already joins the messages to a worker in one turn.
        deliver = supervisor.deliver if meeting is None else meeting.deliver
        publishing = Publishing(deliver, contextlib.nullcontext, reactor)
        super().__init__(config, reactor, self._people, figures, publishing, checks)
        supervisor.watcher = self
        if meeting is not None:
            self.show_broker(self._overall, Met(self._overall, meeting))
        if config.webhook:
            self.show_webhook(OverallWebhook(self._overall))
        if supervisor.keeping is not None:
            self.show_history(supervisor.keeping.history)
            self.answer_history(supervisor.keeping.read)
        elif meeting is not None and meeting.has_history:
            self.answer_history(meeting.history)
        if config.inbox:
            self.show_inbox(lambda: self._overall.inbox)

    def _gauges(self) -> Mapping[str, float]:
        return {
            "ready": not self.reasons(),
            "max_connections": self._most,
            "traces": len(self._people.traces),
            **self._overall.memory(),
            "rate_waiting": self._overall.rate_waiting,
        }

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """Return a function that applies a configuration: see `Reloadable`."""
        token = super().prepare(config)

        def commit() -> list[str]:
            self._most = config.max_connections
            return token()

        return commit

    # Events from the supervisor

    def figures_of(self, worker: Worker, figures: Mapping[str, Any]) -> None:
        """Store the last figures of a worker."""
        self._overall.heard(worker, figures)

    def traced(self, number: int, event: str | None) -> None:
        """Pass on an event of a trace."""
        self._people.heard(number, event)

    def lost(self, worker: Worker) -> None:
        """Forget a worker that is gone. Keep its counts."""
        self._overall.lost(worker)
        self._people.lost(worker)

    def stop(self) -> Deferred[None]:
        """Stop, and end all traces."""
        self._people.end()
        return super().stop()
