"""Report the figures of the Redis servers, of messages by way of them, and of the inbox.

The reports are for Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..metrics import Histogram

_PREFIX = "wsservice_broker_"
_INBOX = "wsservice_inbox_"

_OUTCOMES = ("appended", "dropped", "refused")


class Servers(Protocol):
    """The counts of the servers, by the name of each. The names contain no password."""

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """Counts: `connects`, `calls`, `octets`, `seconds`, and `passed_over` (pushes ignored)."""

    @property
    def states(self) -> Mapping[str, Mapping[str, int]]:
        """States: `links` to a server, the links that are `up`, and the names `subscribed`."""


class Meeting(Protocol):
    """The counts of one or several hubs that send messages by way of servers."""

    @property
    def figures(self) -> Mapping[str, int]:
        """Messages, by outcome."""

    @property
    def states(self) -> Mapping[str, int]:
        """States: messages `waiting`, channels `heard`, and channels `unheard`."""


class Box(Protocol):
    """The counts of an inbox."""

    @property
    def figures(self) -> Mapping[str, int]:
        """Messages, by outcome: `appended`, `dropped`, `refused`."""

    @property
    def states(self) -> Mapping[str, int]:
        """States: messages that are `waiting`."""


class MeetingFigures(Collector):
    """Collect the metrics of messages that go by way of servers."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        messages = CounterMetricFamily(
            _PREFIX + "messages",
            "Messages between nodes, by outcome here.",
            labels=["outcome"],
        )
        # Sorted, since the order in which outcomes first came differs between processes.
        for outcome, count in sorted(self._meeting.figures.items()):
            messages.add_metric([outcome], count)
        yield messages
        states = self._meeting.states
        yield GaugeMetricFamily(
            _PREFIX + "messages_waiting", "Messages that wait for a server.", states["waiting"]
        )
        yield GaugeMetricFamily(
            _PREFIX + "channels_heard", "Channels that are subscribed to.", states["heard"]
        )
        yield GaugeMetricFamily(
            _PREFIX + "channels_unheard",
            "Channels with connections here that are not subscribed to now.",
            states["unheard"],
        )


class BrokerFigures(Collector):
    """Collect the metrics of servers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        yield from self._now()
        yield from self._counted()

    def _now(self) -> Iterator[Metric]:
        label = ["server"]
        up = GaugeMetricFamily(
            _PREFIX + "up", "1 if every process is connected to the server; else 0.", labels=label
        )
        subscriptions = GaugeMetricFamily(
            _PREFIX + "subscriptions", "Names that are subscribed to.", labels=label
        )
        # With workers, the states are sums: each process has a link of its own to the server, and
        # the messages of a node are lost to the clients of any process whose link is down.
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
            "Commands to the server, by outcome.",
            labels=["server", "outcome"],
        )
        octets = CounterMetricFamily(
            _PREFIX + "octets", "Octets within TCP, or TLS.", labels=["server", "direction"]
        )
        seconds = HistogramMetricFamily(
            _PREFIX + "call_seconds", "Seconds from a command to its answer.", labels=["server"]
        )
        passed_over = CounterMetricFamily(
            _PREFIX + "pushes_passed_over",
            "Pushes that were ignored: of a kind that was not asked for, or malformed.",
            labels=["server"],
        )
        for server, counted in self._servers.figures.items():
            connects.add_metric([server], counted["connects"])
            for outcome, count in sorted(counted["calls"].items()):
                calls.add_metric([server, outcome], count)
            # Figures of workers are added up as lists, so these have no names of their own.
            for direction, count in zip(("received", "sent"), counted["octets"], strict=True):
                octets.add_metric([server, direction], count)
            # It comes as a list of counts: in this form, those of workers can be added up.
            histogram = Histogram.of(counted["seconds"])
            seconds.add_metric([server], histogram.buckets(), histogram.total)
            passed_over.add_metric([server], counted["passed_over"])
        yield from (connects, calls, octets, seconds, passed_over)


class InboxFigures(Collector):
    """Collect the metrics of an inbox."""

    def __init__(self, box: Callable[[], Box]) -> None:
        # Called at each scrape: the figures of workers are added up anew each time.
        self._box = box

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. `prometheus_client` calls it at each scrape."""
        box = self._box()
        messages = CounterMetricFamily(
            _INBOX + "messages", "Messages of clients, by outcome.", labels=["outcome"]
        )
        # An outcome that never occurred counts 0: from no series at all, an alert finds no rate.
        for outcome in _OUTCOMES:
            messages.add_metric([outcome], box.figures.get(outcome, 0))
        yield messages
        yield GaugeMetricFamily(
            _INBOX + "waiting",
            "Messages that were accepted and are not appended yet.",
            box.states.get("waiting", 0),
        )
