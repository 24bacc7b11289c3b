from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsservice.workers.cpus import available


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight CPUs that this process may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


class Groups:
    """Control groups in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.own = folder / "own"
        self.own.write_text("0::/service/ws\n")
        (self.root / "service" / "ws").mkdir(parents=True)

    def set(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    @property
    def available(self) -> int:
        return available(self.root, self.own)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_without_a_quota_it_is_what_the_process_may_run_on(groups: Groups) -> None:
    assert groups.available == 8
    groups.set("service/ws/cpu.max", "max 100000\n")
    assert groups.available == 8


@pytest.mark.parametrize(
    ("quota", "count"), [("200000", 2), ("250000", 3), ("50000", 1), ("900000", 8)]
)
def test_a_quota_is_rounded_up_and_never_more_than_there_are(
    groups: Groups, quota: str, count: int
) -> None:
    groups.set("service/ws/cpu.max", f"{quota} 100000\n")
    assert groups.available == count


def test_that_of_a_group_above_holds_too(groups: Groups) -> None:
    groups.set("service/ws/cpu.max", "600000 100000\n")
    groups.set("service/cpu.max", "400000 100000\n")
    assert groups.available == 4
    groups.set("cpu.max", "300000 100000\n")
    assert groups.available == 3


def test_of_the_first_version_of_groups(groups: Groups) -> None:
    groups.own.unlink()
    groups.set("cpu/cpu.cfs_period_us", "100000\n")
    groups.set("cpu/cpu.cfs_quota_us", "-1\n")
    assert groups.available == 8
    groups.set("cpu/cpu.cfs_quota_us", "150000\n")
    assert groups.available == 2


@pytest.mark.parametrize("text", ["", "many 1", "1", "100 0 0"])
def test_what_is_no_quota_is_none(groups: Groups, text: str) -> None:
    groups.set("cpu.max", text)
    assert groups.available == 8


def test_where_nothing_tells_which_cpus_it_is_all(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert groups.available == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert groups.available == 1


def test_here_it_is_at_least_one() -> None:
    assert 1 <= available() <= 8
