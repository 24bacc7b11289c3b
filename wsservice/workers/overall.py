"""The admin face of a parent: what all workers come to."""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.internet.defer import Deferred

from ..admin import Check, Face
from ..admin.broker import Meeting, by_nodes
from ..admin.exchange import Answer, Headers, Outlet, Stream
from ..admin.figures import Figures
from ..admin.ids import Id
from ..admin.inbox import Box
from ..admin.listing import Closing, Wanted
from ..admin.people import gone, not_open, too_many
from ..admin.presence import Part, channels
from ..admin.publishing import Delivery, Publishing
from ..admin.tracing import MOST_TRACES, Trace
from ..config import Config
from ..counting import Counts, Histogram, Traffic
from .process import Worker
from .shown import OPEN
from .sums import added, outlasting
from .supervisor import Supervisor

if TYPE_CHECKING:
    from ..broker.hub import BrokerHub

_NOTHING = Traffic(0, 0, 0, 0, 0)


class Overall:
    """The figures of all workers, as of when they were asked last.

    Of one that is gone, or does not answer, it is what was known of it last.
    """

    def __init__(self, supervisor: Supervisor, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._supervisor = supervisor
        self.gauges = gauges
        self._gone: dict[str, Any] = {}
        self._known: dict[Worker, dict[str, Any]] = {}
        self._all: dict[str, Any] = {}
        #: How many workers did not answer when they were asked last.
        self.silent = 0

    async def refresh(self) -> None:
        """Ask the workers."""
        workers = self._supervisor.serving()
        answers = await self._supervisor.ask(workers, "figures")
        self.silent = sum(not isinstance(answer, dict) for answer in answers)
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, dict):
                self.heard(worker, answer)
        total = self._gone
        for figures in self._known.values():
            total = added(total, figures)
        self._all = total

    def heard(self, worker: Worker, figures: dict[str, Any]) -> None:
        """A worker has said what its figures are."""
        self._known[worker] = figures

    def lost(self, worker: Worker) -> None:
        """A worker is gone."""
        figures = self._known.pop(worker, None)
        if figures is not None:
            self._gone = added(self._gone, outlasting(figures))

    @property
    def traffic(self) -> Traffic:
        """What passed on all connections there ever were."""
        return Traffic(*map(int, self._all["traffic"])) if "traffic" in self._all else _NOTHING

    @property
    def held(self) -> int:
        """All connections of now."""
        return int(self._all.get("held", 0))

    @property
    def each(self) -> Mapping[Worker, Mapping[str, Any]]:
        """The figures of each worker that is there."""
        return self._known

    # As `broker.Servers` has it

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self._all.get("broker", {}))

    @property
    def states(self) -> Mapping[str, Mapping[str, int]]:
        return dict(self._all.get("broker_states", {}))

    def known(self, name: str) -> dict[str, Any]:
        """Something of all workers that are there, or were."""
        return dict(self._all.get(name, {}))

    @property
    def webhook(self) -> Mapping[str, Any]:
        """What became of what webhooks were to be told."""
        known: Mapping[str, Any] = self._all.get("webhook", {})
        return known

    @property
    def inbox(self) -> Box:
        """What was of the messages of all."""
        return _Inbox(self._all.get("inbox", {}), self._all.get("inbox_states", {}))

    # As `figures.Source` has it

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

    def channel_sizes(self) -> list[int]:
        return list(self._all.get("channels", {}).values())

    def counters(self) -> Mapping[str, float]:
        names = ("slow_closed", "slow_dropped", "slow_messages", "log_dropped", "bus_dropped")
        known = self._all.get("counters", {})
        counters: dict[str, float] = {name: known.get(name, 0) for name in names}
        return counters


class Met:
    """What several processes of a service have to do with servers. See `admin.broker.Meeting`."""

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
    """The webhooks of all workers, as `admin.webhook` asks for them."""

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
    """The same figures as of one process, and those of workers."""

    def __init__(self, overall: Overall, supervisor: Supervisor, reactor: Any) -> None:
        self._overall = overall
        self._supervisor = supervisor
        super().__init__(overall, reactor)

    async def _add_up(self) -> None:
        await self._overall.refresh()
        self._traffic, self._held = self._overall.traffic, self._overall.held

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        yield from super().collect()
        yield GaugeMetricFamily(
            "wsservice_workers", "Workers that serve.", len(self._supervisor.ready_workers())
        )
        yield GaugeMetricFamily(
            "wsservice_workers_silent",
            "Workers that did not answer within a second, whose figures are older.",
            self._overall.silent,
        )
        yield CounterMetricFamily(
            "wsservice_workers_lost",
            "Workers that ended without having been told to.",
            self._supervisor.lost,
        )
        yield CounterMetricFamily(
            "wsservice_publications_dropped",
            "Publications that found no room on their way to other workers.",
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


class OverallTrace:
    """A trace that a worker makes, for a reader who is here."""

    headers: Headers = Trace.headers

    def __init__(self, number: int, id_: str, worker: Worker, among: dict[int, Any]) -> None:
        self._number = number
        self._id = id_
        self.worker = worker
        self._among = among
        self._outlet: Outlet | None = None

    def begin(self, outlet: Outlet) -> None:
        """As `Stream` has it."""
        self._outlet = outlet
        self.worker.bus.say("trace", trace=self._number, connection=self._id)

    def heard(self, event: str | None) -> None:
        """The worker says what happened; None where that was the last."""
        if event is None:
            self.end()
        elif self._outlet is not None:
            self._outlet.write(event.encode())

    def end(self) -> None:
        """There is no more. Once is enough, more does no harm."""
        self._among.pop(self._number, None)
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.end()

    def pauseProducing(self) -> None:
        """As `Stream` has it."""
        self._flow("pause")

    def resumeProducing(self) -> None:
        """As `Stream` has it."""
        self._flow("resume")

    def stopProducing(self) -> None:
        """As `Stream` has it."""
        self._outlet = None
        self._among.pop(self._number, None)
        self._flow("stop")

    def _flow(self, to: str) -> None:
        self.worker.bus.say("flow", trace=self._number, to=to)


class OverallPeople:
    """The connections of all workers. See `admin.people.People`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self.traces: dict[int, OverallTrace] = {}

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it, of those that answer."""
        return await self._listed("list", wanted)

    async def channels(self, part: Part) -> dict[str, Any]:
        """As `People` has it, of those that answer."""
        sizes: Counter[str] = Counter()
        for each in await self._supervisor.ask(self._supervisor.serving(), "channels"):
            sizes.update(each or {})
        return channels(sizes.items(), part)

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it, of those that answer."""
        return {"channel": channel, **await self._listed("members", wanted, channel=channel)}

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> str | None:
        """As `People` has it."""
        data = base64.b64encode(payload).decode()
        outcome: str | None = await self._ask(
            id_, "send", connection=id_, data64=data, binary=is_binary
        )
        return outcome

    async def _listed(self, what: str, wanted: Wanted, **members: str) -> dict[str, Any]:
        workers = self._supervisor.serving()
        part = {"limit": wanted.limit, "after": wanted.after}
        said = await self._supervisor.ask(workers, what, **part, **members)
        answers = [each for each in said if isinstance(each, dict)]
        found = [one for each in answers for one in each["connections"]]
        found.sort(key=lambda one: int(one["id"]))
        shown = found[: wanted.limit]
        more = len(found) > len(shown) or any(each["next"] is not None for each in answers)
        return {
            "total": sum(each["total"] for each in answers),
            "connections": shown,
            "next": shown[-1]["id"] if more and shown else None,
        }

    async def close(self, id_: str, closing: Closing) -> bool:
        """As `People` has it."""
        asked = {"connection": id_, "code": int(closing.code), "reason": closing.reason}
        return bool(await self._ask(id_, "close", **asked))

    async def trace(self, id_: str) -> Stream | Answer:
        """As `People` has it."""
        state = await self._ask(id_, "look", connection=id_)
        worker = self._worker_of(id_)
        if state is None or worker is None:
            return gone(id_)
        if state != OPEN:
            return not_open(id_)
        if len(self.traces) >= MOST_TRACES:
            return too_many()
        number = next(self._numbers)
        trace = OverallTrace(number, id_, worker, self.traces)
        self.traces[number] = trace
        return trace

    def _worker_of(self, id_: str) -> Worker | None:
        id_of = Id.of(id_)
        if id_of is None or id_of.node:
            return None
        serving = self._supervisor.serving()
        return next((each for each in serving if id_of.number in each.connections), None)

    async def _ask(self, id_: str, what: str, **members: Any) -> Any:
        worker = self._worker_of(id_)
        if worker is None:
            return None
        (answer,) = await self._supervisor.ask([worker], what, **members)
        return answer

    def heard(self, number: int, event: str | None) -> None:
        """A worker says something of a trace."""
        trace = self.traces.get(number)
        if trace is not None:
            trace.heard(event)

    def lost(self, worker: Worker) -> None:
        """A worker is gone, and all that it traced."""
        for trace in tuple(self.traces.values()):
            if trace.worker is worker:
                trace.end()

    def end(self) -> None:
        """End all traces."""
        for trace in tuple(self.traces.values()):
            trace.end()


class OverallAdmin(Face):
    """The admin face of a parent."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        supervisor: Supervisor,
        checks: list[Check],
        meeting: BrokerHub | None = None,
    ) -> None:
        self._overall = Overall(supervisor, self._gauges)
        self._most = config.max_connections
        self._supervisor = supervisor
        self._people = OverallPeople(supervisor)
        figures = OverallFigures(self._overall, supervisor, reactor)
        # What is said to a worker in one turn leaves together by itself.
        deliver = self._deliver if meeting is None else by_nodes(meeting)
        publishing = Publishing(deliver, contextlib.nullcontext, reactor)
        super().__init__(config, reactor, self._people, figures, publishing, checks)
        supervisor.watcher = self
        if meeting is not None:
            self.show_broker(self._overall, Met(self._overall, meeting))
        if config.webhook:
            self.show_webhook(OverallWebhook(self._overall))
        if supervisor.keeping is not None:
            self.show_history(supervisor.keeping.history)
        if config.inbox:
            self.show_inbox(lambda: self._overall.inbox)

    def _gauges(self) -> Mapping[str, float]:
        return {
            "ready": not self.reasons(),
            "max_connections": self._most,
            "traces": len(self._people.traces),
        }

    def _deliver(self, channel: str, payload: bytes, is_binary: bool) -> Deferred[Delivery]:
        done = self._supervisor.publish(channel, payload, is_binary)
        return done.addCallback(
            lambda all_: Delivery(all_.handed, all_.dropped, is_whole=not all_.unknown)
        )

    def prepare(self, config: Config) -> Callable[[], list[str]]:
        """See `reloading.Part`."""
        token = super().prepare(config)

        def commit() -> list[str]:
            self._most = config.max_connections
            return token()

        return commit

    # What the supervisor tells

    def figures_of(self, worker: Worker, figures: dict[str, Any]) -> None:
        """A worker says for the last time what its figures are."""
        self._overall.heard(worker, figures)

    def traced(self, number: int, event: str | None) -> None:
        """A worker says something of a trace."""
        self._people.heard(number, event)

    def lost(self, worker: Worker) -> None:
        """A worker is gone."""
        self._overall.lost(worker)
        self._people.lost(worker)

    def stop(self) -> Deferred[None]:
        """End traces too."""
        self._people.end()
        return super().stop()
