from __future__ import annotations

import pytest

from benchmarks.figures import Sample, Verdict, judge, ratio, summary
from benchmarks.works import WORKS, Target, Work

ECHO = Work("some", "some echo", "echo", "echo")
IDLE = Work("some", "some memory", "idle", "greeting")


def costs(*values: float) -> list[Sample]:
    return [Sample(each) for each in values]


def test_a_summary_is_of_medians_with_the_range_of_costs() -> None:
    samples = [
        Sample(3.0, rate=10, p50=1, p99=5, idle=True),
        Sample(1.0, rate=40, p50=2, p99=9),
        Sample(2.0, rate=20, p50=9, p99=7),
    ]
    found = summary(samples)
    assert (found.cost, found.lowest, found.highest) == (2.0, 1.0, 3.0)
    assert (found.rate, found.p50, found.p99) == (20, 2, 7)
    assert not found.idle
    assert summary([samples[0]]).idle


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    # The machine was slow in the second round, for both.
    assert ratio(ECHO, costs(1, 10, 2), costs(4, 50, 6)) == 4
    assert ratio(ECHO, costs(1, 1), costs(2, 4)) == 3
    assert ratio(ECHO, costs(2), costs(1)) == 0.5


def test_the_ratio_of_memory_is_ours_to_theirs() -> None:
    assert ratio(IDLE, costs(30), costs(60)) == 0.5


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    assert ratio(ECHO, costs(1), []) is None
    assert ratio(ECHO, [], costs(1)) is None


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        (1.9, Verdict.MISSED),
        (2.0, Verdict.REACHED),
        (2.9, Verdict.REACHED),
        (3.0, Verdict.GOAL),
        (9.0, Verdict.GOAL),
    ],
)
def test_a_target_is_reached_from_its_ratio_on(theirs: float, verdict: Verdict) -> None:
    found = judge(ECHO, Target("ws", least=2, goal=3), {"wsservice": costs(1), "ws": costs(theirs)})
    assert found.verdict is verdict
    assert found.ratio == theirs


@pytest.mark.parametrize(
    ("ours", "verdict"), [(70, Verdict.GOAL), (71, Verdict.REACHED), (91, Verdict.MISSED)]
)
def test_a_target_of_memory_is_reached_up_to_its_ratio(ours: float, verdict: Verdict) -> None:
    target = Target("ws", least=0.9, goal=0.7)
    found = judge(IDLE, target, {"wsservice": costs(ours), "ws": costs(100)})
    assert found.verdict is verdict


def test_a_target_may_have_no_goal_or_only_one() -> None:
    samples = {"wsservice": costs(1), "ws": costs(2)}
    assert judge(ECHO, Target("ws", least=2), samples).verdict is Verdict.REACHED
    assert judge(ECHO, Target("ws", goal=2), samples).verdict is Verdict.GOAL
    assert judge(ECHO, Target("ws", goal=2.1), samples).verdict is Verdict.BELOW_GOAL


def test_a_target_is_judged_by_the_variant_that_it_is_for() -> None:
    samples = {"wsservice": costs(1), "wsservice-python": costs(4), "ws": costs(4)}
    found = judge(ECHO, Target("ws", least=2, ours="wsservice-python"), samples)
    assert (found.ratio, found.verdict) == (1, Verdict.MISSED)


def test_what_was_not_measured_is_not_judged() -> None:
    found = judge(ECHO, Target("ws", least=2), {"wsservice": costs(1)})
    assert (found.ratio, found.verdict) == (None, Verdict.UNKNOWN)


def test_works_have_names_of_their_own_and_targets_in_order() -> None:
    assert len({work.name for work in WORKS}) == len(WORKS)
    for work in WORKS:
        for target in work.targets:
            if target.least is not None and target.goal is not None:
                assert (target.goal < target.least) == work.memory
            assert target.ours in ("wsservice", *work.variants)
