"""cgroups.py and memory.py: how much memory there is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsservice.net.cgroups import folders
from wsservice.net.memory import for_messages, usable

GIB = 1024**3


class Groups:
    """Control groups in a folder of their own, on a machine with eight GiB."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.own = folder / "own"
        self.own.write_text("0::/service/ws\n")

    def set(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    @property
    def usable(self) -> int:
        return usable(self.root, self.own)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    known = {"SC_PHYS_PAGES": 2 * 1024**2, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", known.__getitem__)
    return Groups(tmp_path)


def test_our_group_and_those_around_it(groups: Groups) -> None:
    there = list(folders(groups.root, groups.own))
    assert there == [groups.root / "service" / "ws", groups.root / "service", groups.root]


@pytest.mark.parametrize("text", ["0::/\n", "", "12:cpu:/x\n"])
def test_within_a_container_it_is_the_topmost(groups: Groups, text: str) -> None:
    groups.own.write_text(text)
    groups.set("memory.max", f"{GIB}\n")
    assert groups.usable == GIB


def test_without_a_limit_it_is_the_machines(groups: Groups) -> None:
    assert groups.usable == 8 * GIB
    groups.set("service/ws/memory.max", "max\n")
    assert groups.usable == 8 * GIB


def test_the_least_limit_of_all_groups_counts(groups: Groups) -> None:
    groups.set("service/ws/memory.max", f"{3 * GIB}\n")
    groups.set("service/memory.max", f"{2 * GIB}\n")
    groups.set("memory.max", f"{100 * GIB}\n")
    assert groups.usable == 2 * GIB


@pytest.mark.parametrize(("limit", "octets"), [(GIB, GIB), (2**63 - 4096, 8 * GIB)])
def test_of_the_first_version_of_groups(groups: Groups, limit: int, octets: int) -> None:
    groups.own.unlink()
    groups.set("memory/memory.limit_in_bytes", f"{limit}\n")
    assert groups.usable == octets


def test_of_this_machine_some_is_usable() -> None:
    assert usable() > 64 * 1024**2


def test_auto_is_a_quarter_and_workers_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsservice.net.memory.usable", lambda: 8 * GIB)
    assert for_messages("auto") == 2 * GIB
    assert for_messages("auto", 4) == GIB // 2
    assert for_messages(1000, 3) == 334
    assert for_messages(0, 3) == 0


def test_where_the_system_does_not_tell_there_is_no_limit(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> int:
        raise ValueError(f"unrecognized configuration name: {name}")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert groups.usable == 0
    monkeypatch.setattr("wsservice.net.memory.usable", lambda: 0)
    assert for_messages("auto") == 0
