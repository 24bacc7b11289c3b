"""The service in figures, for Prometheus.

Nothing is counted here: what the rest counts is gathered when somebody asks. No
label has a value that a peer can choose, so that there are never more series
than these.
"""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import autobahn
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from twisted import __version__ as twisted_version

from .. import __version__, frames
from ..counting import Counts, Histogram, Traffic

CONTENT_TYPE = CONTENT_TYPE_LATEST

_AT_ONCE = 2000
"""Connections that are asked before the reactor has its turn again."""


class Counted(Protocol):
    """What is asked of a connection."""

    def traffic(self) -> Traffic:
        """What passed on it."""


class Source(Protocol):
    """What is asked of a service. Each may be called at any time, and costs little."""

    @property
    def counts(self) -> Counts:
        """What is counted of connections."""

    @property
    def publishing(self) -> Histogram:
        """How long it takes to publish."""

    @property
    def lag(self) -> Histogram:
        """How late the reactor calls."""

    def connections(self) -> Iterable[Counted]:
        """All connections of now."""

    def channel_sizes(self) -> list[int]:
        """How many open connections each channel has."""

    def gauges(self) -> Mapping[str, float]:
        """What else is so now: `ready`, `max_connections` and `traces`."""

    def counters(self) -> Mapping[str, float]:
        """What else was counted: `slow_closed`, `slow_dropped`, `slow_messages`, `log_dropped`."""


_Made = Iterator[Metric]


class Figures(Collector):
    """The figures of one service, in a registry of its own, to which others may add theirs."""

    def __init__(self, source: Source, reactor: Any) -> None:
        self._source = source
        self._reactor = reactor
        self._traffic = Traffic(0, 0, 0, 0, 0)
        self._held = 0
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    async def text(self) -> bytes:
        """All of them, in the text format of Prometheus."""
        await self._add_up()
        return generate_latest(self.registry)

    async def _add_up(self) -> None:
        """Ask each connection, some at a time.

        Who leaves meanwhile is asked all the same, and is not in the sum of those
        that are over, which is of the beginning. So no sum is ever less than before.
        """
        past = self._source.counts.past
        connections = tuple(self._source.connections())
        for start in range(0, len(connections), _AT_ONCE):
            if start:
                await self._turn()
            part = [each.traffic() for each in connections[start : start + _AT_ONCE]]
            past = Traffic(*map(sum, zip(past, *part, strict=True)))
        self._traffic = past
        self._held = len(connections)

    def _turn(self) -> Awaitable[None]:
        turn: Deferred[None] = deferLater(self._reactor, 0, lambda: None)
        return turn

    def collect(self) -> _Made:
        """As `prometheus_client` has it. What connections were asked for is that of `text`."""
        for make in (self._connections, self._flow, self._troubles, self._latencies, self._build):
            yield from make()

    def _connections(self) -> _Made:
        counts, sizes = self._source.counts, self._source.channel_sizes()
        gauges = self._source.gauges()
        is_open = sum(sizes)
        yield _gauge("connections", "Open connections.", is_open)
        yield _gauge(
            "connections_not_open",
            "Connections that shake hands, are refused, or wait for the peer's end.",
            max(0, self._held - is_open),
        )
        yield _gauge(
            "max_connections",
            "How many connections there may be, by --max-connections; 0: no limit.",
            gauges["max_connections"],
        )
        yield _gauge("channels", "Channels with open connections.", len(sizes))
        yield _gauge(
            "channel_connections_max",
            "Open connections of the channel that has the most.",
            max(sizes, default=0),
        )
        yield _counter("connections_accepted", "Connections that were accepted.", counts.accepted)
        yield _counter("connections_opened", "Handshakes that were done.", counts.opened)
        yield _gauge("ready", "Whether /readyz says so.", gauges["ready"])
        yield _gauge("traces", "Traces that are going on.", gauges["traces"])

    def _flow(self) -> _Made:
        traffic = self._traffic
        yield _counters(
            "messages",
            "Messages, of data.",
            "direction",
            {"received": traffic.messages_received, "sent": traffic.messages_sent},
        )
        yield _counters(
            "octets",
            "Octets within TCP, or within TLS: handshakes and frames.",
            "direction",
            {"received": traffic.octets_received, "sent": traffic.octets_sent},
        )
        yield _gauge(
            "send_queue_octets", "Octets that wait for peers to read them.", traffic.queued
        )

    def _troubles(self) -> _Made:
        counts, counters = self._source.counts, self._source.counters()
        yield _counters(
            "closes",
            "Ends of open connections, by the code of the close frame that began it.",
            "code",
            counts.closes,
        )
        yield _counters("refusals", "Connections that were refused.", "reason", counts.refusals)
        yield _counters(
            "slow_clients",
            "How often a peer read too slowly, by what --slow-client has done about it.",
            "policy",
            {"close": counters["slow_closed"], "drop": counters["slow_dropped"]},
        )
        yield _counter(
            "slow_messages_dropped",
            "Messages that were left out because a peer read too slowly.",
            counters["slow_messages"],
        )
        yield _counter(
            "log_lines_dropped",
            "Lines of the message log that could not be written.",
            counters["log_dropped"],
        )

    def _latencies(self) -> _Made:
        counts, source = self._source.counts, self._source
        yield _histogram("handshake", "From being accepted to 101.", counts.handshakes)
        yield _histogram("publish", "To hand a message to all it is for.", source.publishing)
        yield _histogram("reactor_lag", "How late the reactor calls.", source.lag)

    def _build(self) -> _Made:
        yield _info("codec", "The codec that reads messages.", codec=frames.CODEC)
        yield _info(
            "build",
            "What runs.",
            version=__version__,
            python=platform.python_version(),
            twisted=twisted_version,
            autobahn=str(autobahn.version),
        )


_PREFIX = "wsservice_"


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}{name}_seconds", text)
    family.add_metric([], histogram.buckets(), histogram.total)
    return family


def _info(name: str, text: str, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}_info", text, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family
