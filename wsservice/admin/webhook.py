"""The figures of the webhook, where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_webhook_"


class Sender(Protocol):
    """What is asked of a webhook."""

    @property
    def delivered(self) -> int:
        """Events that were taken."""

    @property
    def attempts(self) -> Mapping[str, int]:
        """Batches that were posted, by how it ended."""

    @property
    def dropped(self) -> int:
        """Events that were never taken."""

    @property
    def waiting(self) -> int:
        """Events that were not taken yet."""


class WebhookFigures(Collector):
    """Shows how a webhook does."""

    def __init__(self, webhook: Sender) -> None:
        self._webhook = webhook

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        events = CounterMetricFamily(
            _PREFIX + "events", "Events, by what became of them.", labels=["outcome"]
        )
        events.add_metric(["delivered"], self._webhook.delivered)
        events.add_metric(["dropped"], self._webhook.dropped)
        yield events
        attempts = CounterMetricFamily(
            _PREFIX + "attempts", "Batches that were posted, by how it ended.", labels=["outcome"]
        )
        for outcome, count in sorted(self._webhook.attempts.items()):
            attempts.add_metric([outcome], count)
        yield attempts
        yield GaugeMetricFamily(
            _PREFIX + "waiting", "Events that were not taken yet.", self._webhook.waiting
        )
