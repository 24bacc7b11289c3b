"""The figures of the history, where one is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_history_"


class Kept(Protocol):
    """What is asked of a history. Its length is that of the channels that it remembers."""

    messages: int
    octets: int
    most_octets: int

    def __len__(self) -> int: ...


class HistoryFigures(Collector):
    """Shows how much is kept."""

    def __init__(self, history: Kept) -> None:
        self._history = history

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        kept = self._history
        for name, text, value in (
            ("channels", "Channels that are remembered.", len(kept)),
            ("messages", "Messages that are kept.", kept.messages),
            ("octets", "What it takes to keep them.", kept.octets),
            ("octets_max", "What it may take, by --history-bytes.", kept.most_octets),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value)
