"""The figures of a cluster, as one of its nodes has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_cluster_"


class Counted(Protocol):
    """What is asked of a cluster."""

    @property
    def count(self) -> int:
        """Nodes that there are."""

    @property
    def beats(self) -> Mapping[str, int]:
        """How often this node said that it is there, by what became of it."""

    @property
    def questions(self) -> Mapping[str, int]:
        """Questions to other nodes, by what became of them."""

    @property
    def answers(self) -> Mapping[str, int]:
        """Questions of other nodes, by what became of them."""

    @property
    def malformed(self) -> int:
        """What came by the broker and made no sense."""


class ClusterFigures(Collector):
    """Shows how a cluster does."""

    def __init__(self, cluster: Counted) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        cluster = self._cluster
        yield GaugeMetricFamily(
            _PREFIX + "nodes",
            "Nodes that are there, with this one; 0 where the broker cannot be asked.",
            cluster.count,
        )
        yield _counters("beats", "How often this node said that it is there.", cluster.beats)
        yield _counters("questions", "Questions to other nodes.", cluster.questions)
        yield _counters("answers", "Questions of other nodes.", cluster.answers)
        yield CounterMetricFamily(
            _PREFIX + "malformed", "What came by the broker and made no sense.", cluster.malformed
        )


def _counters(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=["outcome"])
    for outcome, count in sorted(values.items()):
        family.add_metric([outcome], count)
    return family
