"""Report the ends of certificates to Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .expiry import ValidUntil


class CertificateFigures(Collector):
    """Collect the metrics of certificates. `expiries` returns those in use."""

    def __init__(self, expiries: Callable[[], Iterable[ValidUntil]]) -> None:
        self._expiries = expiries

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family. `prometheus_client` calls it at each scrape."""
        # Two certificates may have the same name, one with RSA and one with ECDSA, and Prometheus
        # refuses two samples with the same labels. The earlier end is the one to act upon.
        ends: dict[tuple[str, str], float] = {}
        for each in self._expiries():
            labels = (each.port, each.certificate)
            ends[labels] = min(each.until, ends.get(labels, each.until))
        family = GaugeMetricFamily(
            "wsservice_tls_certificate_not_after_seconds",
            "Time at which a certificate of a port ends, in seconds since 1970.",
            labels=["port", "certificate"],
        )
        for labels, until in ends.items():
            family.add_metric(labels, until)
        yield family
