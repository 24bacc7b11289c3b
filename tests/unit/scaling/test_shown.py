from __future__ import annotations

import json

import attrs
import pytest

from wsservice.scaling import shown
from wsservice.scaling.model import GIB, Load, Machines, Plan, plan

from ...figures import FIGURES

LOAD = Load(connections=1e6, publish_rate=5e4, fan_out=10, size=100, channels=1e5, session=300)
SMALL = attrs.evolve(LOAD, connections=1, publish_rate=0, fan_out=1, channels=1)
MACHINES = Machines()


def planned(load: Load = LOAD, machines: Machines = MACHINES) -> Plan:
    return plan(load, FIGURES, machines)


def text(load: Load = LOAD, machines: Machines = MACHINES) -> str:
    return shown.text(load, FIGURES, machines, planned(load, machines))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.00001, "0"),
        (0.00123456, "0.00123"),
        (1.5, "1.5"),
        (7.0, "7"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234567.8, "1,234,568"),
    ],
)
def test_numbers_have_three_digits(value: float, said: str) -> None:
    assert shown.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7.91e-6, "7.91 µs"),
        (0.0125, "12.5 ms"),
        (0.9999, "1,000 ms"),
        (1.0, "1 s"),
        (599, "599 s"),
        (600, "10 min"),
    ],
)
def test_times_have_the_unit_that_suits_them(value: float, said: str) -> None:
    assert shown.seconds(value) == said


def test_the_text_says_what_was_asked_what_is_needed_and_by_what_figures() -> None:
    said = text()
    assert said.startswith(
        "1,000,000 connections on 100,000 channels, 3,333 opened a second\n"
        "50,000 messages of 100 octets published a second, each to 10: 500,000 delivered a second\n"
    )
    assert f"\nnodes: {planned().nodes}, for " in said
    assert "\nRedis: " in said
    assert said.endswith(f"Figures of {FIGURES.measured}: {FIGURES.machine}.")


def test_what_all_need_each_has_its_part_of() -> None:
    rows = {
        line[:18].strip(): line[18:].split()
        for line in text().partition("Redis:")[0].splitlines()
        if line[18:].strip()[:1].isdigit()
    }
    assert rows["connections"] == ["1,000,000", shown.number(1e6 / planned().nodes), "50,000"]
    assert rows["memory, GiB"][2] == "16"
    assert rows["network in, Mbit/s"][2] == "10,000"
    assert rows["CPU, cores"][0] == shown.number(planned().needs.cpu)


def test_one_of_something_is_one() -> None:
    said = text(SMALL)
    assert said.startswith("1 connection on 1 channel,")
    assert "one node needs no Redis" in said
    assert "\nnodes: 1\n" in said


def test_a_lost_node_is_spoken_of() -> None:
    found = planned()
    assert f"without one node, the others take {found.busy_without_one:.0%}" in text()
    full = attrs.evolve(MACHINES, busy=1.0, connections=6e5)
    load = attrs.evolve(LOAD, publish_rate=0, session=2 * 1e6 * FIGURES.connect_us / 1e6 / 8)
    assert text(load, full).count(": they cannot") == 1


def test_warnings_are_shown() -> None:
    assert "\n- but each Redis has " in text(machines=attrs.evolve(MACHINES, redis_connections=9))
    assert "\n- but " not in text()


def test_plans_stand_beside_each_other() -> None:
    loads = [LOAD, SMALL]
    lines = shown.markdown([(each, MACHINES, planned(each)) for each in loads]).splitlines()
    assert lines[0] == "| connections | 1,000,000 | 1 |"
    assert lines[1] == "| :--- | ---: | ---: |"
    assert {line.count("|") for line in lines} == {4}
    (nodes,) = [line for line in lines if line.startswith("| **nodes** |")]
    assert nodes.endswith("| **1** |")
    (without,) = [line for line in lines if "without one node" in line]
    assert without.endswith("% |  |")


def test_json_has_all_of_it_and_nothing_that_json_has_not() -> None:
    found = json.loads(
        shown.as_json(SMALL, FIGURES, MACHINES, planned(SMALL)),
        parse_constant=lambda name: pytest.fail(name),
    )
    assert found["load"]["connections"] == 1
    assert found["machines"]["memory"] == 16 * GIB
    assert found["plan"]["nodes"] == 1
    assert found["plan"]["back"] is None
    assert found["plan"]["needs"]["processes"] == 4
    assert found["plan"]["warnings"] == []
    assert found["figures"]["measured"] == FIGURES.measured.isoformat()
