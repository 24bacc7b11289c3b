"""Report the figures of the service to Prometheus.

This module counts nothing: it gathers the counts of the other modules at each scrape. No label has
a value that a peer can choose, so the number of series is bounded.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
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

from twisted import __version__ as twisted_version

from .. import __version__
from ..channels.contract import Sizes
from ..directory.traffic import CountedConnection, passed_on
from ..metrics import Counts, Histogram, Traffic
from ..protocol import frames
from ..protocol.budget import MESSAGE, QUEUE
from ..server.rates.limited import LIMITS

CONTENT_TYPE = CONTENT_TYPE_LATEST


class FiguresSource(Protocol):
    """The counts of a service. Each may be read at any time, and costs little."""

    @property
    def counts(self) -> Counts:
        """The counts of connections."""

    @property
    def publishing(self) -> Histogram:
        """The histogram of the seconds that it takes to publish."""

    @property
    def lag(self) -> Histogram:
        """The histogram of the reactor's lag, in seconds."""

    def connections(self) -> Iterable[CountedConnection]:
        """Return all current connections."""

    def sizes(self) -> Sizes:
        """Return the numbers of connections and channels."""

    def gauges(self) -> Mapping[str, float]:
        """Return the other gauges.

        They are `ready`, `max_connections`, `traces`, `rate_waiting`, `message_memory` and
        `message_memory_max`; the last two are octets of the memory for messages.
        """

    def counters(self) -> Mapping[str, float]:
        """Return the other counters.

        They are `slow_closed`, `slow_dropped`, `slow_messages`, `log_dropped`, `memory_messages`,
        `memory_queues`, `message_timeouts`, and the names in `LIMITS`.
        """


_Made = Iterator[Metric]


class Figures(Collector):
    """Collect the metrics of one service, in a registry to which others may add theirs."""

    def __init__(self, source: FiguresSource, reactor: Any) -> None:
        self._source = source
        self._reactor = reactor
        self._traffic = Traffic(0, 0, 0, 0, 0)
        self._held = 0
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    async def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        await self._add_up()
        return generate_latest(self.registry)

    async def _add_up(self) -> None:
        """Add up the traffic of all connections."""
        connections = tuple(self._source.connections())
        self._traffic = await passed_on(self._source.counts.past, connections, self._reactor)
        self._held = len(connections)

    def collect(self) -> _Made:
        """Yield the metric families. The traffic is what `text` added up before."""
        for make in (self._connections, self._flow, self._troubles, self._latencies, self._build):
            yield from make()

    def _connections(self) -> _Made:
        counts, sizes = self._source.counts, self._source.sizes()
        gauges = self._source.gauges()
        yield _gauge("connections", "Open connections.", sizes.open)
        yield _gauge(
            "connections_not_open",
            "Connections in the handshake, being refused, or waiting for the peer to close.",
            max(0, self._held - sizes.open),
        )
        yield _gauge(
            "max_connections",
            "Limit of connections, by --max-connections; 0: no limit.",
            gauges["max_connections"],
        )
        yield _gauge("channels", "Channels with open connections.", sizes.channels)
        yield _gauge(
            "channel_connections_max",
            "Open connections of the channel that has the most.",
            sizes.largest,
        )
        yield _counter("connections_accepted", "Connections that were accepted.", counts.accepted)
        yield _counter("connections_opened", "Handshakes that succeeded.", counts.opened)
        yield _gauge(
            "ready", "1 if the service is ready, as /readyz says; else 0.", gauges["ready"]
        )
        yield _gauge("traces", "Running traces.", gauges["traces"])

    def _flow(self) -> _Made:
        traffic = self._traffic
        yield _counters(
            "messages",
            "Data messages.",
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
        gauges = self._source.gauges()
        yield _gauge(
            "message_memory_octets",
            "Octets that unfinished messages and send queues take.",
            gauges["message_memory"],
        )
        yield _gauge(
            "message_memory_octets_max",
            "Octets that --memory-for-messages lets them take; 0: no limit.",
            gauges["message_memory_max"],
        )

    def _troubles(self) -> _Made:
        counts, counters = self._source.counts, self._source.counters()
        yield _counters(
            "closes",
            "Open connections that ended, by the code of the first close frame.",
            "code",
            counts.closes,
        )
        yield _counters("refusals", "Connections that were refused.", "reason", counts.refusals)
        yield _counters(
            "slow_clients",
            "Times that a peer read too slowly, by the policy of --slow-client that was applied.",
            "policy",
            {"close": counters["slow_closed"], "drop": counters["slow_dropped"]},
        )
        yield _counter(
            "slow_messages_dropped",
            "Messages that were dropped because a peer read too slowly.",
            counters["slow_messages"],
        )
        yield _counters(
            "memory_given_up",
            "Times that the memory for messages was full, by what a connection gave up.",
            "what",
            {MESSAGE: counters["memory_messages"], QUEUE: counters["memory_queues"]},
        )
        yield _counter(
            "message_timeouts",
            "Connections that were closed because a message was not complete in time.",
            counters["message_timeouts"],
        )
        yield _counters(
            "limited",
            "Times that a limit on how fast clients connect or send took effect.",
            "limit",
            {limit: counters[limit] for limit in LIMITS},
        )
        yield _gauge(
            "rate_waiting_connections",
            "Connections that are not read now because they send too fast.",
            self._source.gauges()["rate_waiting"],
        )
        yield _counter(
            "log_lines_dropped",
            "Lines of the message log that could not be written.",
            counters["log_dropped"],
        )

    def _latencies(self) -> _Made:
        counts, source = self._source.counts, self._source
        yield _histogram(
            "handshake", "Seconds from accepting a connection to the answer 101.", counts.handshakes
        )
        yield _histogram(
            "publish", "Seconds to hand a message to all its connections.", source.publishing
        )
        yield _histogram("reactor_lag", "Seconds by which the reactor is late.", source.lag)

    def _build(self) -> _Made:
        yield _info("codec", "The codec that reads messages.", codec=frames.CODEC)
        yield _info(
            "build",
            "Versions of the running software.",
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
