from __future__ import annotations

from typing import Any

import attrs
import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, fail, succeed

from wsservice.admin.broker import BrokerFigures, MeetingFigures, by_nodes
from wsservice.admin.listing import WrongError
from wsservice.admin.publishing import Delivery
from wsservice.counting import Histogram
from wsservice.errors import NotPublishedError

SERVER = "redis://h:6379"


class Servers:
    def __init__(self, links: int = 1) -> None:
        seconds = Histogram()
        seconds.observe(0.002)
        self.figures = {
            SERVER: {
                "connects": 2,
                "calls": {"answered": 3, "away": 1},
                "octets": [10, 20],
                "seconds": seconds.state(),
            }
        }
        self.states = {SERVER: {"links": links, "up": 1, "subscribed": 4}}


def shown(servers: Servers) -> Any:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BrokerFigures(servers))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"wsservice_broker_{name}", {"server": SERVER, **labels})

    return value


def test_what_is_shown_of_a_server() -> None:
    value = shown(Servers())
    assert (value("up"), value("subscriptions"), value("connects_total")) == (1, 4, 2)
    assert value("calls_total", outcome="answered") == 3
    assert value("calls_total", outcome="away") == 1
    assert value("octets_total", direction="received") == 10
    assert value("octets_total", direction="sent") == 20
    assert value("call_seconds_bucket", le="0.001") == 0
    assert value("call_seconds_bucket", le="0.0025") == 1
    assert value("call_seconds_count") == 1


def test_of_several_processes_it_is_up_where_all_have_it() -> None:
    assert shown(Servers(links=2))("up") == 0


class Meeting:
    figures = {"published": 5, "received": 7}
    states = {"waiting": 1, "heard": 2, "unheard": 3}


def test_what_is_shown_of_messages_between_nodes() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MeetingFigures(Meeting()))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"wsservice_broker_{name}", labels)

    assert value("messages_total", outcome="published") == 5
    assert value("messages_total", outcome="received") == 7
    assert value("messages_waiting") == 1
    assert (value("channels_heard"), value("channels_unheard")) == (2, 3)


@attrs.frozen
class Told:
    handed: int
    dropped: int
    nodes: int | None
    is_here: bool


class Node:
    """What publishes, or does not."""

    def __init__(self, outcome: Told | Exception) -> None:
        self.outcome = outcome
        self.published: list[tuple[str, bytes, bool]] = []

    def deliver(self, channel: str, payload: bytes, isBinary: bool) -> Deferred[Any]:
        self.published.append((channel, payload, isBinary))
        if isinstance(self.outcome, ValueError):
            raise self.outcome
        return fail(self.outcome) if isinstance(self.outcome, Exception) else succeed(self.outcome)


@pytest.mark.parametrize(
    ("told", "delivery"),
    [
        (Told(0, 0, 0, False), Delivery(0, 0, True, 0)),
        (Told(3, 1, 1, True), Delivery(3, 1, True, 1)),
        (Told(3, 1, 2, True), Delivery(3, 1, False, 2)),
        (Told(0, 0, 1, False), Delivery(0, 0, False, 1)),
        (Told(3, 1, None, True), Delivery(3, 1, False, None)),
    ],
)
def test_publishing_is_whole_where_no_other_node_has_it(told: Told, delivery: Delivery) -> None:
    node = Node(told)
    became: list[Any] = []
    by_nodes(node)("a", b"x", True).addCallback(became.append)
    assert became == [delivery]
    assert node.published == [("a", b"x", True)]


def test_what_cannot_be_published_is_wrong_and_what_fails_fails() -> None:
    with pytest.raises(WrongError, match="cannot be published: too large"):
        by_nodes(Node(ValueError("too large")))("a", b"x", True)
    became: list[Any] = []
    by_nodes(Node(NotPublishedError("away")))("a", b"x", True).addErrback(became.append)
    assert became[0].type is NotPublishedError
