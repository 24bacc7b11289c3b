from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from wsservice.admin.broker import BrokerFigures
from wsservice.counting import Histogram

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
