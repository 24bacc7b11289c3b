"""The figures of the servers of --broker, where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..counting import Histogram

_PREFIX = "wsservice_broker_"


class Servers(Protocol):
    """What is asked of servers, each by its name, which has no password."""

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """What was counted: `connects`, `calls`, `octets` and `seconds`."""

    @property
    def states(self) -> Mapping[str, Mapping[str, int]]:
        """How it is now: `links` to it, those that are `up`, and names `subscribed`."""


class BrokerFigures(Collector):
    """Shows how servers do."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        yield from self._now()
        yield from self._counted()

    def _now(self) -> Iterator[Metric]:
        label = ["server"]
        up = GaugeMetricFamily(
            _PREFIX + "up", "Whether it can be asked, by every process.", labels=label
        )
        subscriptions = GaugeMetricFamily(
            _PREFIX + "subscriptions", "Names that are subscribed to.", labels=label
        )
        for server, state in self._servers.states.items():
            up.add_metric([server], int(state["up"] == state["links"]))
            subscriptions.add_metric([server], state["subscribed"])
        yield up
        yield subscriptions

    def _counted(self) -> Iterator[Metric]:
        connects = CounterMetricFamily(
            _PREFIX + "connects", "Connections that were made.", labels=["server"]
        )
        calls = CounterMetricFamily(
            _PREFIX + "calls",
            "What was asked, by what became of it.",
            labels=["server", "outcome"],
        )
        octets = CounterMetricFamily(
            _PREFIX + "octets", "Octets within TCP, or TLS.", labels=["server", "direction"]
        )
        seconds = HistogramMetricFamily(
            _PREFIX + "call_seconds", "How long answers took.", labels=["server"]
        )
        for server, counted in self._servers.figures.items():
            connects.add_metric([server], counted["connects"])
            for outcome, count in sorted(counted["calls"].items()):
                calls.add_metric([server, outcome], count)
            for direction, count in zip(("received", "sent"), counted["octets"], strict=True):
                octets.add_metric([server, direction], count)
            histogram = Histogram.of(counted["seconds"])
            seconds.add_metric([server], histogram.buckets(), histogram.total)
        yield from (connects, calls, octets, seconds)
