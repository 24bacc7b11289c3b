"""The figures of the inbox, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_inbox_"

_OUTCOMES = ("appended", "dropped", "refused")


class Box(Protocol):
    """What is asked of an inbox."""

    @property
    def figures(self) -> Mapping[str, int]:
        """Messages, by what became of them: `appended`, `dropped`, `refused`."""

    @property
    def states(self) -> Mapping[str, int]:
        """Messages that are `waiting`."""


class InboxFigures(Collector):
    """Shows how an inbox does."""

    def __init__(self, box: Callable[[], Box]) -> None:
        self._box = box

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        box = self._box()
        messages = CounterMetricFamily(
            _PREFIX + "messages", "Messages of clients, by what became of them.", labels=["outcome"]
        )
        for outcome in _OUTCOMES:
            messages.add_metric([outcome], box.figures.get(outcome, 0))
        yield messages
        yield GaugeMetricFamily(
            _PREFIX + "waiting",
            "Messages that were taken and are not appended yet.",
            box.states.get("waiting", 0),
        )
