"""Report the figures of a cluster to Prometheus, as one node sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_cluster_"


class CountedCluster(Protocol):
    """The counts of a cluster."""

    @property
    def count(self) -> int:
        """The number of nodes."""

    @property
    def beats(self) -> Mapping[str, int]:
        """Beats with which this node registered itself, by outcome."""

    @property
    def questions(self) -> Mapping[str, int]:
        """Questions to other nodes, by outcome."""

    @property
    def answers(self) -> Mapping[str, int]:
        """Questions of other nodes, by outcome."""

    @property
    def malformed(self) -> int:
        """Malformed messages that came by way of the broker."""


class ClusterFigures(Collector):
    """Collect the metrics of a cluster."""

    def __init__(self, cluster: CountedCluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        cluster = self._cluster
        yield GaugeMetricFamily(
            _PREFIX + "nodes",
            "Nodes of the service, this one included; 0 if the broker does not answer.",
            cluster.count,
        )
        yield _counters("beats", "Registrations of this node.", cluster.beats)
        yield _counters("questions", "Questions to other nodes.", cluster.questions)
        yield _counters("answers", "Questions of other nodes.", cluster.answers)
        yield CounterMetricFamily(
            _PREFIX + "malformed",
            "Malformed messages that came by way of the broker.",
            cluster.malformed,
        )


def _counters(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=["outcome"])
    for outcome, count in sorted(values.items()):
        family.add_metric([outcome], count)
    return family
