from __future__ import annotations

import os
import resource
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.selectreactor import SelectReactor

from wsservice.net.descriptors import (
    Shares,
    in_use,
    keep_from_programs,
    limit_for,
    lowest_free,
    raise_limit,
)


class Limits:
    """Stands in for the process's limits on open files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = (100, 5000)
        self.fails: Exception | None = None
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if self.fails:
            raise self.fails
        self.now = limits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    return Limits(monkeypatch)


def test_the_soft_limit_is_raised_to_the_hard_one(limits: Limits) -> None:
    raise_limit()
    assert limits.now == (5000, 5000)


@pytest.mark.parametrize("error", [ValueError(), OSError()])
def test_one_that_may_not_be_raised_stays(limits: Limits, error: Exception) -> None:
    limits.fails = error
    raise_limit()
    assert limits.now == (100, 5000)


def test_the_limit_is_the_soft_one(limits: Limits) -> None:
    assert limit_for(None) == 100
    limits.now = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert limit_for(None) == sys.maxsize


def test_select_waits_for_1024_at_most(limits: Limits) -> None:
    reactor: Any = SelectReactor.__new__(SelectReactor)
    assert limit_for(reactor) == 100
    limits.now = (5000, 5000)
    assert limit_for(reactor) == 1024


def test_what_is_open_is_counted() -> None:
    before = in_use()
    opened = [os.dup(0) for _ in range(10)]
    assert in_use() == before + 10
    for each in opened:
        os.close(each)
    assert in_use() == before


def test_where_the_system_does_not_tell_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", fail)
    assert in_use() == 0


@pytest.mark.parametrize(
    ("limit", "first_reserved", "refusals"),
    [(64, 40, 8), (1024, 832, 128), (20_000, 20_000 - 320, 256)],
)
def test_shares(limit: int, first_reserved: int, refusals: int) -> None:
    assert Shares.of(limit) == Shares(first_reserved, refusals)


@given(st.integers(0, 100_000), st.integers(0, 2000))
def test_connections_refusals_and_a_reserve_fit_into_the_limit(limit: int, used: int) -> None:
    shares = Shares.of(limit)
    assert 0 <= shares.first_reserved <= limit
    reserve = limit - shares.first_reserved - shares.refusals
    assert reserve >= min(64, limit // 4)
    assert shares.room(used) == max(0, shares.first_reserved - used)


def test_the_lowest_descriptor_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest = lowest_free()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        assert descriptor == lowest
        assert lowest_free() > lowest
    finally:
        os.close(descriptor)

    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    assert lowest_free() == sys.maxsize


def test_a_file_whose_number_is_too_high_is_given_to_no_program(limits: Limits) -> None:
    low, high = os.pipe()
    try:
        for each in (low, high):
            os.set_inheritable(each, True)
        limits.now = (max(low, high), 5000)
        keep_from_programs()
        assert os.get_inheritable(min(low, high))
        assert not os.get_inheritable(max(low, high))
        os.set_inheritable(high, True)
        limits.now = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        keep_from_programs()
        assert os.get_inheritable(high)
    finally:
        os.close(low)
        os.close(high)
