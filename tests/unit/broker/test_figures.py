from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from wsservice.broker.figures import BrokerFigures, InboxFigures, MeetingFigures
from wsservice.metrics import Histogram

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
                "passed_over": 7,
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
    assert value("pushes_passed_over_total") == 7


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


class Box:
    def __init__(self, figures: dict[str, int], states: dict[str, int]) -> None:
        self.figures = figures
        self.states = states


def shown_of(box: Box) -> dict[str, float | None]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InboxFigures(lambda: box))
    found = {
        outcome: registry.get_sample_value("wsservice_inbox_messages_total", {"outcome": outcome})
        for outcome in ("appended", "dropped", "refused")
    }
    return {**found, "waiting": registry.get_sample_value("wsservice_inbox_waiting")}


def test_what_is_shown_of_an_inbox() -> None:
    box = Box({"appended": 5, "dropped": 2, "refused": 1}, {"waiting": 3})
    assert shown_of(box) == {"appended": 5, "dropped": 2, "refused": 1, "waiting": 3}


def test_what_was_never_there_is_shown_too() -> None:
    assert set(shown_of(Box({}, {})).values()) == {0}
