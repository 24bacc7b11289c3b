"""A token bucket never lets more through than its burst and its rate, and starves nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from wsservice.config.rates import Rate
from wsservice.server.rates.bucket import TokenBucket

RATES = st.builds(
    Rate,
    st.integers(1, 10**6),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.integers(1, 10**6),
)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000)), max_size=40)
BEGINS = st.sampled_from([0.0, 12345.678, 3e7])


def test_it_is_full_at_first_and_gets_its_rate_then() -> None:
    bucket = TokenBucket(Rate(10, 1.0, 20))
    assert bucket.level(100) == 20
    bucket.take(20, 100)
    assert not bucket.has(1, 100)
    assert not bucket.has(1, 100.09)
    assert bucket.has(1, 100.1)
    assert bucket.has(10, 101)
    assert not bucket.has(11, 101)
    assert bucket.has(20, 102)
    assert bucket.level(1000) == 20


def test_what_is_larger_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = TokenBucket(Rate(10, 1.0, 20))
    bucket.take(1, 0)
    assert not bucket.has(100, 0)
    assert 0.099 < bucket.wait(100, 0) < 0.101
    assert bucket.has(100, 0.1)
    bucket.take(100, 0.1)
    assert not bucket.has(1, 8.1)
    assert bucket.has(1, 8.2)
    bucket.forgive(5)
    assert not bucket.has(1, 5)
    assert bucket.has(1, 5.1)


def test_another_rate_keeps_what_is_missing_up_to_the_new_burst() -> None:
    bucket = TokenBucket(Rate(1, 3600.0, 10))
    bucket.take(5, 0)
    bucket.change(Rate(1000, 1.0, 100), 0)
    assert bucket.has(95, 0)
    assert not bucket.has(96, 0)
    bucket.take(90, 0)
    bucket.change(Rate(1, 1.0, 10), 0)
    assert not bucket.has(1, 0)
    assert bucket.has(1, 1)


def test_a_rate_in_minutes_is_one_for_each_part_of_a_minute() -> None:
    bucket = TokenBucket(Rate(1, 60.0, 1))
    bucket.take(1, 0)
    assert not bucket.has(1, 59.9)
    assert bucket.has(1, 60)


@given(RATES, STEPS, BEGINS)
@examples(300)
def test_no_window_has_more_than_the_burst_and_the_rate(
    rate: Rate, steps: list[tuple[float, int]], now: float
) -> None:
    bucket = TokenBucket(rate)
    taken: list[tuple[float, int]] = []
    for passes, wanted in steps:
        now += passes
        wanted = min(wanted, rate.burst)
        if bucket.has(wanted, now):
            bucket.take(wanted, now)
            taken.append((now, wanted))
    for place, (begin, _) in enumerate(taken):
        total = 0
        for end, count in taken[place:]:
            total += count
            # Ten digits are left of a time in seconds since a machine started.
            assert total <= (rate.burst + rate.per_second * (end - begin)) * (1 + 1e-9) + 1e-3


@given(RATES, STEPS, BEGINS)
@examples(300)
def test_after_the_wait_there_is_enough_and_not_much_before(
    rate: Rate, steps: list[tuple[float, int]], now: float
) -> None:
    bucket = TokenBucket(rate)
    for passes, wanted in steps:
        now += passes
        wait = bucket.wait(wanted, now)
        assert wait <= bucket.refill_seconds + max(0.0, bucket.full_at - now)
        if wait > 1e-3 * bucket.refill_seconds and wait > 1e-3:
            assert not bucket.has(wanted, now + wait * 0.99)
        now += wait
        assert bucket.has(wanted, now + 1e-6 * rate.seconds_for_one + 1e-8)
        bucket.take(wanted, now)
