from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsservice.scaling.figures import MeasuredCosts
from wsservice.scaling.model import (
    GIB,
    Load,
    Machines,
    TooMuchError,
    alone,
    needs,
    on_wire,
    plan,
    reached,
)

from ...figures import FIGURES

LOAD = Load(connections=1e6, publish_rate=5e4, fan_out=10, size=100, channels=1e5, session=300)
MACHINES = Machines()

rates = st.floats(0, 1e6)
counts = st.floats(1, 1e8)


@st.composite
def loads(draw: st.DrawFn) -> Load:
    connections = draw(counts)
    return Load(
        connections=connections,
        publish_rate=draw(rates),
        fan_out=draw(st.floats(1, connections)),
        size=draw(st.floats(0, 1e5)),
        channels=draw(st.floats(1, connections)),
        session=draw(st.floats(10, 1e5)),
        message_rate=draw(rates),
        history=draw(st.sampled_from([0.0, 1.0, 100.0])),
        history_seconds=draw(st.sampled_from([0.0, 300.0])),
        batch=draw(st.sampled_from([1.0, 100.0])),
    )


def tried(
    load: Load, figures: MeasuredCosts = FIGURES, machines: Machines = MACHINES
) -> tuple[float, float]:
    """How many nodes and Redis; without end where no number is enough."""
    try:
        found = plan(load, figures, machines)
    except TooMuchError:
        return math.inf, math.inf
    return found.nodes, found.redis


MORE = ["connections", "publish_rate", "size", "channels", "message_rate", "history"]


@given(loads(), st.sampled_from(MORE), st.floats(1, 100))
def test_more_to_do_never_needs_fewer_machines(load: Load, name: str, times: float) -> None:
    more = attrs.evolve(load, **{name: getattr(load, name) * times})
    nodes, redis = tried(load)
    more_nodes, more_redis = tried(more)
    assert more_nodes >= nodes
    assert more_redis >= redis


@given(loads(), st.floats(1, 100))
def test_who_stays_longer_needs_no_more_machines(load: Load, times: float) -> None:
    assert tried(attrs.evolve(load, session=load.session * times))[0] <= tried(load)[0]


@given(loads(), st.sampled_from(["memory", "network", "connections", "busy"]))
def test_larger_machines_are_never_more(load: Load, name: str) -> None:
    larger = attrs.evolve(MACHINES, **{name: getattr(MACHINES, name) * 2})
    assert tried(load, machines=larger)[0] <= tried(load)[0]


@given(loads(), st.sampled_from([each.name for each in attrs.fields(MeasuredCosts)][2:]))
def test_what_costs_more_never_needs_fewer_nodes(load: Load, name: str) -> None:
    dearer = attrs.evolve(FIGURES, **{name: getattr(FIGURES, name) * 3})
    assert tried(load, dearer)[0] >= tried(load)[0]


@given(loads())
def test_the_nodes_that_are_planned_are_enough_and_one_less_is_not(load: Load) -> None:
    assume(tried(load)[0] < math.inf)
    found = plan(load, FIGURES, MACHINES)

    def enough(nodes: int) -> bool:
        each = needs(load, FIGURES, nodes * MACHINES.cores)
        network = max(each.network_in, each.network_out)
        return (
            load.connections <= nodes * MACHINES.connections
            and each.cpu <= nodes * MACHINES.cores * MACHINES.busy
            and each.memory <= nodes * MACHINES.memory * 0.8
            and network <= nodes * MACHINES.network * MACHINES.busy
        )

    assert enough(found.nodes)
    assert found.nodes == 1 or not enough(found.nodes - 1)
    assert bool(found.nodes_for) == (found.nodes > 1)
    assert found.needs.redis_cpu <= found.redis * MACHINES.busy * (1 + 1e-9)


@given(st.floats(0, 1e9), st.integers(1, 10**6))
def test_a_message_reaches_no_more_processes_than_there_are_or_are_asked_for(
    members: float, processes: int
) -> None:
    found = reached(members, processes)
    assert 0 <= found <= min(members, processes) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("members", "processes", "expected"),
    [(1, 7, 1), (2, 2, 1.5), (10, 1, 1), (0.5, 1, 0.5), (1e9, 4, 4), (3, 1e12, 3)],
)
def test_members_are_spread_as_chance_has_it(
    members: float, processes: float, expected: float
) -> None:
    assert reached(members, processes) == pytest.approx(expected)


def test_packets_have_heads() -> None:
    assert on_wire(0) == 0
    assert on_wire(1) == 67
    assert on_wire(1448) == 1514
    assert on_wire(1449) == 1449 + 132


def test_what_limits_is_named() -> None:
    def limit(**changes: float) -> str:
        machines = attrs.evolve(Machines(), connections=math.inf, redis_memory=math.inf)
        load = attrs.evolve(LOAD, publish_rate=0, session=1e9, ping_interval=0)
        names = {each.name for each in attrs.fields(Load)}
        load = attrs.evolve(load, **{k: v for k, v in changes.items() if k in names})
        machines = attrs.evolve(machines, **{k: v for k, v in changes.items() if k not in names})
        return plan(load, FIGURES, machines).nodes_for

    assert limit(connections=1e9) == "memory"
    assert limit(publish_rate=1e6) == "CPU"
    assert limit(publish_rate=1e3, size=1e6, network=1e6) == "network"
    assert plan(LOAD, FIGURES, attrs.evolve(MACHINES, connections=1000)).nodes == 1000
    assert plan(LOAD, FIGURES, attrs.evolve(MACHINES, connections=1000)).nodes_for == "connections"


def test_a_history_is_bounded_by_messages_and_by_time() -> None:
    kept = attrs.evolve(LOAD, history=100, history_seconds=60)
    assert kept.kept == pytest.approx(5e4 * 60)
    assert attrs.evolve(kept, history_seconds=0).kept == 100 * 1e5
    assert attrs.evolve(kept, history=10).kept == 10 * 1e5
    assert LOAD.kept == 0
    more = plan(attrs.evolve(kept, history_seconds=0), FIGURES, MACHINES)
    assert more.needs.redis_memory - plan(LOAD, FIGURES, MACHINES).needs.redis_memory > 1e9


def test_only_the_first_of_a_channel_in_a_process_has_it_subscribed_to() -> None:
    assert alone(1, 7) == 1
    assert alone(0.5, 1) == 1
    assert alone(2, 1) == 0
    assert alone(3, 2) == pytest.approx(0.25)
    many = attrs.evolve(LOAD, fan_out=1e6, channels=1, publish_rate=0)
    dear = attrs.evolve(FIGURES, join_us=1e6, redis_join_us=1e6)
    assert needs(many, dear, 80).cpu == pytest.approx(needs(many, FIGURES, 80).cpu)
    assert needs(many, dear, 80).redis_cpu == pytest.approx(0)
    assert needs(LOAD, dear, 80).redis_cpu > 1000


def test_joins_are_of_all_channels_that_a_connection_is_on() -> None:
    assert LOAD.joins == LOAD.connect_rate
    assert attrs.evolve(LOAD, channels=3e5).joins == 3 * LOAD.connect_rate


def test_lines_are_cheaper_than_requests() -> None:
    one, many = (needs(attrs.evolve(LOAD, batch=each), FIGURES, 80) for each in (1, 100))
    assert many.cpu < one.cpu
    assert many.network_in < one.network_in


def test_without_one_node_the_others_have_more_to_do() -> None:
    found = plan(LOAD, FIGURES, MACHINES)
    left = (found.nodes - 1) * MACHINES.cores
    assert found.busy_without_one == pytest.approx(needs(LOAD, FIGURES, left).cpu / left)
    assert 0 < found.back < math.inf
    # Of two that are planned to be as busy as can be, one alone cannot.
    full = attrs.evolve(MACHINES, busy=1.0, connections=6e5)
    load = attrs.evolve(LOAD, publish_rate=0, session=2 * 1e6 * FIGURES.connect_us / 1e6 / 8)
    alone = plan(load, FIGURES, full)
    assert alone.nodes == 2
    assert alone.busy_without_one > 1
    assert alone.back == math.inf
    one = plan(attrs.evolve(LOAD, connections=1e3, publish_rate=1, channels=1e2), FIGURES, MACHINES)
    assert (one.nodes, one.redis, one.back) == (1, 1, math.inf)


def test_what_no_number_of_machines_carries_is_said() -> None:
    with pytest.raises(TooMuchError, match="memory for its processes"):
        plan(LOAD, FIGURES, attrs.evolve(MACHINES, memory=FIGURES.process_octets))
    with pytest.raises(TooMuchError, match="too little CPU"):
        plan(attrs.evolve(LOAD, publish_rate=1e12, fan_out=1e12), FIGURES, MACHINES)
    with pytest.raises(TooMuchError, match="memory for its connections"):
        plan(LOAD, FIGURES, attrs.evolve(MACHINES, redis_memory=1.0))


def test_channels_that_do_not_spread_and_too_many_connections_are_warned_of() -> None:
    one = attrs.evolve(LOAD, channels=1, publish_rate=1e6, fan_out=1)
    assert "1 channels do not spread over" in plan(one, FIGURES, MACHINES).warnings[0]
    few = attrs.evolve(MACHINES, redis_connections=10)
    assert "it takes 10, unless" in plan(LOAD, FIGURES, few).warnings[0]
    assert plan(LOAD, FIGURES, MACHINES).warnings == ()


def test_the_last_of_a_large_channel_waits_for_the_others() -> None:
    all_of_it = attrs.evolve(LOAD, fan_out=1e6, channels=1, publish_rate=1)
    found = needs(all_of_it, FIGURES, 100)
    each_us = FIGURES.deliver_us + FIGURES.deliver_ns * 100 / 1e3
    assert found.spread == pytest.approx(1e4 * each_us / 1e6)


def test_a_gibibyte_is_one() -> None:
    assert Machines().memory == 16 * GIB
