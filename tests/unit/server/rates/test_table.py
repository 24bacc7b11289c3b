"""However many addresses knock, few buckets are kept, and none that holds an attacker back goes."""

from __future__ import annotations

import tracemalloc

import pytest

from wsservice.config.rates import Rate
from wsservice.server.rates.bucket import TokenBucket
from wsservice.server.rates.table import MOST_KEPT, Buckets

RATE = Rate(1, 1.0, 10)


class InUse(TokenBucket):
    used = False

    @property
    def in_use(self) -> bool:
        return self.used


def buckets(most: int = 100, rate: Rate = RATE) -> Buckets[InUse]:
    return Buckets(lambda _: InUse(rate), most)


def test_a_bucket_is_the_same_until_it_is_full_again() -> None:
    kept = buckets()
    first = kept.of("192.0.2.1", 0)
    first.take(3, 0)
    assert kept.of("192.0.2.1", 2) is first
    assert kept.of("192.0.2.2", 2) is not first
    kept.of("192.0.2.3", 3)
    kept.of("192.0.2.4", 3)
    assert kept.of("192.0.2.1", 3) is not first


def test_full_buckets_go_as_fast_as_others_come() -> None:
    kept = buckets()
    for number in range(10_000):
        kept.of(str(number), number).take(1, number)
        assert len(kept) <= 4


@pytest.mark.slow
def test_a_hundred_thousand_addresses_take_bounded_memory() -> None:
    kept: Buckets[TokenBucket] = Buckets(lambda _: TokenBucket(RATE))
    tracemalloc.start()
    try:
        for number in range(100_000):
            kept.of(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64", 0).take(1, 0)
        octets, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == MOST_KEPT
    assert octets < 16 * 1024 * 1024


def test_a_client_with_many_addresses_does_not_free_the_one_that_is_held_back() -> None:
    kept = buckets()
    held = kept.of("held", 0)
    held.take(10, 0)
    for number in range(100_000):
        now = number / 1e6
        kept.of(str(number), now).take(1, now)
        assert len(kept) <= 100
    assert kept.of("held", 0.1) is held
    assert not held.has(1, 0.1)


def test_many_addresses_that_are_used_again_do_not_free_it_either() -> None:
    kept = buckets()
    held = kept.of("held", 0)
    held.take(9, 0)
    for number in range(99):
        kept.of(str(number), 0).take(1, 0)
    held.take(1, 0)
    for number in range(99):
        kept.of(str(number), 0).take(1, 0)
    # All that the table knows of the order is out of date now.
    for number in range(100, 1000):
        kept.of(str(number), 0).take(1, 0)
    assert kept.of("held", 0) is held


def test_when_looking_for_the_fullest_takes_too_long_some_bucket_goes() -> None:
    kept = buckets(3000)
    for number in range(3000):
        kept.of(str(number), 0).take(1, 0)
    for number in range(3000):
        kept.of(str(number), 0).take(5, 0)
    kept.of("another", 0).take(1, 0)
    assert len(kept) == 3000


def test_a_bucket_in_use_stays() -> None:
    kept = buckets(3)
    used = []
    for number in range(5):
        used.append(kept.of(str(number), 0))
        used[-1].used = True
    for number in range(100):
        kept.of(f"other {number}", 0).take(1, 0)
    assert [kept.of(str(number), 1000) for number in range(5)] == used
    for each in used:
        each.used = False
    for number in range(10):
        kept.of(f"later {number}", 2000).take(1, 2000)
    assert len(kept) < 15


def test_all_are_changed_and_those_that_are_full_then_go() -> None:
    kept = buckets()
    one = kept.of("a", 0)
    one.take(1, 0)
    kept.of("b", 0).take(10, 0)
    kept.change(lambda bucket: bucket.change(Rate(100, 1.0, 100), 0))
    assert kept.of("a", 0.001) is one
    kept.of("c", 0.2).take(1, 0.2)
    assert len(kept) == 1
