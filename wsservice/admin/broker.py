"""The servers of --broker, where there are any: publishing by way of them, and their figures."""

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
from twisted.internet.defer import Deferred

from ..counting import Histogram
from .listing import WrongError
from .publishing import Deliver, Delivery

_PREFIX = "wsservice_broker_"


class Servers(Protocol):
    """What is asked of servers, each by its name, which has no password."""

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """What was counted: `connects`, `calls`, `octets` and `seconds`."""

    @property
    def states(self) -> Mapping[str, Mapping[str, int]]:
        """How it is now: `links` to it, those that are `up`, and names `subscribed`."""


class Meeting(Protocol):
    """What is asked of a hub whose messages go by way of servers, or of several such."""

    @property
    def figures(self) -> Mapping[str, int]:
        """Messages, by what became of them here."""

    @property
    def states(self) -> Mapping[str, int]:
        """How it is now: messages `waiting`, channels that are `heard`, and those `unheard`."""


class Told(Protocol):
    """What became of a message."""

    handed: int
    dropped: int
    nodes: int | None
    is_here: bool


class Node(Protocol):
    """What publishes by way of servers."""

    def deliver(self, channel: str, payload: bytes, isBinary: bool) -> Deferred[Any]:
        """Publish, and fire with what is `Told` of it."""


def by_nodes(node: Node) -> Deliver:
    """Publishing on all nodes."""

    def deliver(channel: str, payload: bytes, is_binary: bool) -> Deferred[Delivery]:
        try:
            told = node.deliver(channel, payload, is_binary)
        except ValueError as error:
            raise WrongError(f"the message cannot be published: {error}") from None

        def delivery(told: Told) -> Delivery:
            whole = told.nodes == int(told.is_here)
            return Delivery(told.handed, told.dropped, whole, told.nodes)

        return told.addCallback(delivery)

    return deliver


class MeetingFigures(Collector):
    """Shows what goes by way of servers."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` has it."""
        messages = CounterMetricFamily(
            _PREFIX + "messages",
            "Messages between nodes, by what became of them here.",
            labels=["outcome"],
        )
        for outcome, count in sorted(self._meeting.figures.items()):
            messages.add_metric([outcome], count)
        yield messages
        states = self._meeting.states
        yield GaugeMetricFamily(
            _PREFIX + "messages_waiting", "Messages that wait for a server.", states["waiting"]
        )
        yield GaugeMetricFamily(
            _PREFIX + "channels_heard", "Channels that are heard.", states["heard"]
        )
        yield GaugeMetricFamily(
            _PREFIX + "channels_unheard",
            "Channels with connections here that are not heard now.",
            states["unheard"],
        )


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
