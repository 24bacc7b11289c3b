"""A seed says what happens."""

from __future__ import annotations

import pytest

from .__main__ import chosen
from .faults import DOING
from .schedule import KINDS, plan

SEEDS = range(50)


def test_a_seed_has_the_same_happen_each_time() -> None:
    assert [plan(seed, 60) for seed in SEEDS] == [plan(seed, 60) for seed in SEEDS]
    assert len({plan(seed, 60).faults for seed in SEEDS}) == len(SEEDS)


def test_faults_are_within_the_run_and_there_are_enough() -> None:
    for seed in SEEDS:
        faults = plan(seed, 60).faults
        assert 25 < len(faults) < 80
        assert all(0 < fault.at < 60 and fault.at + fault.seconds <= 61.1 for fault in faults)


def test_seeds_have_all_there_is() -> None:
    plans = [plan(seed, 60) for seed in SEEDS]
    assert {fault.kind for each in plans for fault in each.faults} == set(KINDS)
    assert {each.topology.keeps for each in plans} == {True, False}
    assert {len(each.topology.workers) for each in plans} == {2, 3}
    assert {count for each in plans for count in each.topology.workers} == {1, 2}
    assert {each.topology.is_small for each in plans} == {True, False}


def test_each_kind_is_done() -> None:
    assert set(DOING) == set(KINDS)


def test_a_plan_is_lossless_where_nothing_is_lost() -> None:
    for seed in SEEDS:
        harmless = plan(seed, 60, ["cut", "kill-worker"])
        assert harmless.is_lossless is not harmless.topology.is_small
        assert not plan(seed, 60, ["flushall"]).is_lossless
        killed = plan(seed, 60, ["kill-redis"])
        assert killed.is_lossless is (killed.topology.keeps and not killed.topology.is_small)


def test_kinds_are_chosen_by_name() -> None:
    assert chosen(None) == list(KINDS)
    assert chosen(["kill-worker stop-node", "cut"]) == ["kill-worker", "stop-node", "cut"]
    assert chosen(["!cut"]) == [kind for kind in KINDS if kind != "cut"]
    assert chosen(["cut", "hang", "!cut"]) == ["hang"]
    with pytest.raises(ValueError, match=r"unknown fault 'rain'; give kill-node, .*"):
        chosen(["rain"])
