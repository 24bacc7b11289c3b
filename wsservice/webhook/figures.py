"""Report the figures of the webhook to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PREFIX = "wsservice_webhook_"


class CountedWebhook(Protocol):
    """The counts of a webhook."""

    @property
    def delivered(self) -> int:
        """Events that the receiver accepted."""

    @property
    def attempts(self) -> Mapping[str, int]:
        """Batches that were posted, by outcome."""

    @property
    def dropped(self) -> int:
        """Events that were dropped."""

    @property
    def waiting(self) -> int:
        """Events that wait to be accepted."""


class WebhookFigures(Collector):
    """Collect the metrics of a webhook."""

    def __init__(self, webhook: CountedWebhook) -> None:
        self._webhook = webhook

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        events = CounterMetricFamily(_PREFIX + "events", "Events, by outcome.", labels=["outcome"])
        events.add_metric(["delivered"], self._webhook.delivered)
        events.add_metric(["dropped"], self._webhook.dropped)
        yield events
        attempts = CounterMetricFamily(
            _PREFIX + "attempts", "Batches that were posted, by outcome.", labels=["outcome"]
        )
        for outcome, count in sorted(self._webhook.attempts.items()):
            attempts.add_metric([outcome], count)
        yield attempts
        yield GaugeMetricFamily(
            _PREFIX + "waiting", "Events that were not accepted yet.", self._webhook.waiting
        )
