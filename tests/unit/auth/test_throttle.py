"""throttle.py: an address with bad credentials is slowed down, and the store is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice.auth.throttle import MOST_ADDRESSES, SECONDS_EACH, Throttle

from ...examples import examples


def test_so_many_then_one_after_another() -> None:
    clock = Clock()
    throttle = Throttle(3, clock.seconds)
    for _ in range(3):
        assert throttle.wait("a") == 0
        throttle.failed("a")
    assert throttle.wait("a") == SECONDS_EACH
    assert throttle.wait("b") == 0
    clock.advance(SECONDS_EACH - 1)
    assert throttle.wait("a") == pytest.approx(1)
    clock.advance(1)
    assert throttle.wait("a") == 0
    throttle.failed("a")
    assert throttle.wait("a") == SECONDS_EACH
    clock.advance(3 * SECONDS_EACH)
    assert throttle.wait("a") == 0
    assert len(throttle) == 0


def test_none_is_counted_without_an_address_or_a_limit() -> None:
    clock = Clock()
    throttle = Throttle(1, clock.seconds)
    throttle.failed(None)
    assert throttle.wait(None) == 0
    throttle.most = 0
    throttle.failed("a")
    assert len(throttle) == 0


def test_100_000_addresses_are_forgotten_again() -> None:
    clock = Clock()
    throttle = Throttle(1, clock.seconds)
    for number in range(100_000):
        throttle.failed(str(number))
    assert len(throttle) == MOST_ADDRESSES
    assert throttle.wait("99999")
    assert not throttle.wait("0")


@examples(200)
@given(st.integers(1, 5), st.lists(st.floats(0, 20), max_size=60))
def test_no_address_may_try_more_often_than_stated(most: int, pauses: list[float]) -> None:
    clock = Clock()
    throttle = Throttle(most, clock.seconds)
    tried = []
    for pause in pauses:
        clock.advance(pause)
        if not throttle.wait("a"):
            tried.append(clock.seconds())
            throttle.failed("a")
    for start, time in enumerate(tried):
        for count, later in enumerate(tried[start:], 1):
            assert count <= most + (later - time) / SECONDS_EACH + 1e-6
