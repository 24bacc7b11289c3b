from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from wsservice.cluster.checking import MalformedError
from wsservice.cluster.facts import SHORT, Broker, Facts, within

BROKER = Broker("redis://broker.example:6379", True, "Redis 7.0.15")
FACTS = Facts(
    host="one.example",
    pid=7,
    version="0.1.0",
    python="3.11.2",
    started="2026-11-25T03:00:00.000Z",
    workers=2,
    connections=5,
    lag=0.25,
    reasons=("draining",),
    brokers=(BROKER, Broker("redis://other.example:6379", False, "", "connection refused")),
)


def as_read(facts: Facts) -> Any:
    return json.loads(json.dumps(facts.as_json()))


def test_what_is_said_is_read() -> None:
    assert Facts.of(as_read(FACTS)) == FACTS


def test_what_a_later_version_says_besides_is_not_looked_at() -> None:
    assert Facts.of({**as_read(FACTS), "more": [1]}) == FACTS


@pytest.mark.parametrize("name", [each.name for each in attrs.fields(Facts)])
@pytest.mark.parametrize("value", [None, -1, {}, [1], "a\nb", "x" * (SHORT + 1), True])
def test_each_member_is_checked(name: str, value: Any) -> None:
    with pytest.raises(MalformedError):
        Facts.of({**as_read(FACTS), name: value})


@pytest.mark.parametrize("name", [each.name for each in attrs.fields(Facts)])
def test_each_member_has_to_be_there(name: str) -> None:
    said = as_read(FACTS)
    del said[name]
    with pytest.raises(MalformedError, match=f"there is no {name}"):
        Facts.of(said)


@pytest.mark.parametrize("name", [each.name for each in attrs.fields(Broker)])
@pytest.mark.parametrize("value", [-1, {}, [], "a\nb", "x" * (SHORT + 1)])
def test_each_member_of_a_broker_is_checked(name: str, value: Any) -> None:
    said = as_read(FACTS)
    said["brokers"][0][name] = value
    with pytest.raises(MalformedError):
        Facts.of(said)


def test_what_is_too_much_is_cut_before_it_is_said() -> None:
    long = "\u202e" * 1000
    broker = Broker(long, False, long, long)
    much = attrs.evolve(
        FACTS, host=long, version=long, reasons=(long,) * 100, brokers=(broker,) * 100
    )
    facts = Facts.of(as_read(within(much)))
    assert facts.host.startswith("\\u202e")
    assert len(facts.host) == SHORT
    assert len(facts.reasons) == len(facts.brokers) == 16


def test_what_is_short_stays_as_it_is() -> None:
    assert within(FACTS) == FACTS
    backslash = attrs.evolve(FACTS, host="a\\b")
    assert within(backslash) == backslash
