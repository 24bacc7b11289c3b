"""The acts that follow from a seed."""

from __future__ import annotations

from collections import Counter

from . import hostile
from .schedule import HOSTILE, KINDS, plan
from .stage import DOING


def test_a_seed_is_a_plan() -> None:
    assert plan(1, 300) == plan(1, 300)
    assert plan(1, 300) != plan(2, 300)


def test_each_kind_is_done_even_in_a_short_run() -> None:
    for seed in range(20):
        acts = plan(seed, 2)
        assert {act.kind for act in acts} == set(KINDS)


def test_acts_are_in_order_and_none_outlasts_the_run() -> None:
    acts = plan(3, 120)
    assert [act.at for act in acts] == sorted(act.at for act in acts)
    assert all(0 <= act.at <= act.at + act.seconds <= 120.1 for act in acts)


def test_kinds_come_as_often_as_they_say() -> None:
    counted = Counter(act.kind for act in plan(4, 3600))
    for name, kind in KINDS.items():
        wanted = kind.rate * 60
        assert abs(counted[name] - wanted) < 5 * wanted**0.5 + 2, name


def test_something_does_each_kind_and_nothing_else() -> None:
    assert set(DOING) == set(KINDS)
    assert set(hostile.ACTS) == set(HOSTILE)
