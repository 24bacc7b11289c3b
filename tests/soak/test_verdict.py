"""The verdict fails a run that breaks a promise, and no other."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import report
from .samples import Sample
from .verdict import JUDGED, MIB, STEEPEST, Run, findings, growth, lows, slope

SECONDS = 1800.0

QUIET = Sample(
    at=0.0,
    rss=60 * MIB,
    uss=45 * MIB,
    descriptors=15,
    connections=0,
    lag_mean=0.001,
    lag_worst=0.0025,
    cpu=0.1,
    own_cpu=0.05,
    accepted=5,
    messages=0,
    history=0,
    message_memory=0,
    channels=0,
    workers_lost=0,
    honest=0,
    hostile=0,
    failures=0,
    wrong=0,
)


def run_of(rss: Callable[[float], float], seconds: float = SECONDS) -> Run:
    """Return a run whose resident memory is a function of the time, and all else is well."""
    samples = tuple(
        attrs.evolve(QUIET, at=float(at), rss=int(rss(float(at)))) for at in range(int(seconds))
    )
    return Run(1, 1, seconds, samples, before=QUIET, after=QUIET)


FLAT = run_of(lambda _: 100 * MIB)


def _broken(run: Run) -> list[str]:
    return [each.promise for each in findings(run)]


def _leaking(mib_an_hour: float, peaks: bool) -> Callable[[float], float]:
    """Return memory that warms up for five minutes, grows, and has peaks of attacks."""
    dice = random.Random(1)

    def rss(at: float) -> float:
        peak = 40 * dice.random() if peaks and dice.random() < 0.3 else dice.random()
        return (60 + min(at / 300, 1) * 40 + mib_an_hour * at / 3600 + peak) * MIB

    return rss


@pytest.mark.parametrize("peaks", [False, True])
def test_a_leak_is_found_among_peaks(peaks: bool) -> None:
    grows = growth(run_of(_leaking(3 * STEEPEST, peaks)))
    assert grows == pytest.approx(3 * STEEPEST, rel=0.15)
    assert len(_broken(run_of(_leaking(3 * STEEPEST, peaks)))) == 1


def test_warming_up_and_peaks_are_no_leak() -> None:
    assert _broken(run_of(_leaking(0, peaks=True))) == []


def test_the_slope_of_a_short_run_is_not_judged() -> None:
    short = run_of(_leaking(1000, peaks=False), seconds=2 * JUDGED - 10)
    assert growth(short) is None
    assert _broken(short) == []


@given(
    st.floats(-100, 100),
    st.floats(-1000, 1000),
    st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True),
)
def test_the_slope_of_a_line_is_its_own(steep: float, high: float, times: list[int]) -> None:
    assert slope([(at, high + steep * at) for at in times]) == pytest.approx(steep, abs=1e-6)


def test_a_few_odd_points_do_not_change_the_slope() -> None:
    points = [(float(at), 2.0 * at) for at in range(20)]
    points[3], points[17] = (3.0, 1e6), (17.0, -1e6)
    assert slope(points) == pytest.approx(2.0)


def test_there_is_no_slope_of_a_point() -> None:
    assert slope([(1.0, 5.0)]) == 0.0
    assert lows([]) == []


def test_a_low_is_the_least_of_its_minute() -> None:
    run = run_of(lambda at: (100 if at % 60 == 7 else 300) * MIB)
    assert [octets for _, octets in lows(run.second_half)] == [100 * MIB] * 15


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"ended": "service ended by itself"}, "the service runs until it is told to end"),
        (
            {"failures": ("1 s, visit: no echo",), "failed": {"visit": 1}},
            "no honest act fails, and each hostile one is over in time",
        ),
        ({"server_errors": 1}, "no answer has a status from 500 on"),
        ({"wrong_lines": ("Traceback",)}, "no log has a traceback"),
        ({"after": attrs.evolve(QUIET, workers_lost=1)}, "no worker is lost"),
        (
            {"after": attrs.evolve(QUIET, descriptors=16)},
            "no descriptors are left once all have gone",
        ),
        (
            {"after": attrs.evolve(QUIET, connections=1)},
            "no connections are left once all have gone",
        ),
        ({"after": attrs.evolve(QUIET, channels=1)}, "no channels are left once all have gone"),
    ],
)
def test_each_fault_breaks_its_promise(changes: dict[str, object], promise: str) -> None:
    assert _broken(FLAT) == []
    assert _broken(attrs.evolve(FLAT, **changes)) == [promise]  # type: ignore[arg-type]


def test_a_run_survives_its_record() -> None:
    run = attrs.evolve(FLAT, failures=("1 s, visit: no echo",), done={"visit": 3})
    assert report.from_json(report.to_json(run)) == run


def test_the_figures_say_what_was() -> None:
    run = attrs.evolve(
        run_of(_leaking(0, peaks=False)),
        done={"visit": 1200, "flood": 30},
        after=attrs.evolve(QUIET, accepted=1505, messages=2_000_000),
    )
    shown = "\n".join(report.terminal(run))
    assert "1,200 honest acts and 30 hostile ones, 1,500 connections, 2,000,000 messages" in shown
    assert "MiB an hour, by the least value of each of 15 minutes" in shown
    assert "never done: stay, " in shown
    part = report.page_part(run, "Facts.", "soak.svg")
    assert "](soak.svg)" in part
    assert "| resident memory | 60.0 MiB | 100" in part


def test_the_chart_has_a_value_for_each_point() -> None:
    given = report.chart(run_of(_leaking(36, peaks=False)))
    count = len(given["minutes"])
    assert 300 < count <= 600
    for name in ("rss", "uss", "descriptors", "lag_worst", "cpu", "honest", "errors"):
        assert len(given[name]) == count
    (_, first), (_, last) = given["trend"]
    assert last - first == pytest.approx(given["growth"] / 4, rel=0.1)


def test_a_point_of_the_chart_is_the_most_of_its_samples_or_their_mean() -> None:
    run = run_of(lambda at: (300 if at == 900 else 100) * MIB)
    samples = tuple(
        attrs.evolve(each, cpu=0.5 if each.at == 900 else 0.2, honest=int(4 * each.at))
        for each in run.samples
    )
    given = report.chart(attrs.evolve(run, samples=samples))
    assert sorted(given["rss"])[-2:] == [100.0, 300.0]
    assert sorted(given["cpu"])[-2:] == [20.0, 30.0]
    assert set(given["honest"][1:]) == {4.0}


def test_a_percentile_is_one_of_the_values() -> None:
    assert report.percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert report.percentile([1.0], 99) == 1.0
    assert report.percentile([], 99) == 0.0
