"""Report the figures of the history to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_history_"


class Kept(Protocol):
    """The counts of a history. Its `len` is the number of channels that it remembers."""

    messages: int
    octets: int
    most_octets: int

    def __len__(self) -> int: ...


class HistoryFigures(Collector):
    """Collect the metrics of a history."""

    def __init__(self, history: Kept) -> None:
        self._history = history

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        kept = self._history
        for name, text, value in (
            ("channels", "Channels in the history.", len(kept)),
            ("messages", "Messages in the history.", kept.messages),
            ("octets", "Octets that the history takes.", kept.octets),
            (
                "octets_max",
                "Octets that the history may take, by --history-bytes.",
                kept.most_octets,
            ),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value)
