"""admission.py: how many connections there may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.server.admission import Admission, ConnectionLimits, Verdict, address_key

ADMITTED, REFUSED, DROPPED = Verdict.ADMITTED, Verdict.REFUSED, Verdict.DROPPED


def test_no_limit() -> None:
    limits = ConnectionLimits(0)
    assert {limits.arrive("192.0.2.1").verdict for _ in range(1000)} == {ADMITTED}


def test_whether_there_is_room_is_known_before_anybody_comes() -> None:
    limits = ConnectionLimits(1)
    seen = [limits.full]
    there = limits.arrive()
    seen.append(limits.full)
    limits.leave(there)
    seen.append(limits.full)
    assert seen == [False, True, False]
    limits.reserve(7, 1)
    assert limits.first_reserved == 7
    assert not ConnectionLimits(0).full


def test_in_all() -> None:
    limits = ConnectionLimits(2, most_refused=2)
    there = [limits.arrive() for _ in range(6)]
    assert [each.verdict for each in there] == [*[ADMITTED] * 2, *[REFUSED] * 2, *[DROPPED] * 2]
    limits.leave(there[4])
    assert limits.arrive().verdict is DROPPED
    limits.leave(there[3])
    assert limits.arrive().verdict is REFUSED
    limits.leave(there[0])
    assert limits.arrive().verdict is ADMITTED
    assert limits.arrive().verdict is DROPPED


def test_those_that_would_take_of_the_reserve_are_refused() -> None:
    limits = ConnectionLimits(0, most_refused=5)
    limits.reserve(100, 2)
    verdicts = [limits.arrive(None, number).verdict for number in (99, 100, 101, 102)]
    assert verdicts == [ADMITTED, REFUSED, REFUSED, DROPPED]
    assert limits.arrive("192.0.2.1", 7).verdict is ADMITTED


def test_a_reserve_has_no_more_wait_for_their_refusal() -> None:
    limits = ConnectionLimits(1, most_refused=1)
    limits.reserve(100, 2)
    assert [limits.arrive().verdict for _ in range(3)] == [ADMITTED, REFUSED, DROPPED]


def test_of_one_address() -> None:
    limits = ConnectionLimits(0, 2)
    first, _second = limits.arrive("192.0.2.1"), limits.arrive("::ffff:192.0.2.1")
    assert limits.arrive("192.0.2.1").verdict is REFUSED
    assert limits.arrive("192.0.2.2").verdict is ADMITTED
    limits.leave(first)
    limits.leave(first)
    assert limits.arrive("192.0.2.1").verdict is ADMITTED
    assert limits.arrive("192.0.2.1").verdict is REFUSED


def test_an_address_that_is_known_later() -> None:
    limits = ConnectionLimits(2, 1)
    first, second = limits.arrive(), limits.arrive()
    assert limits.arrive().verdict is REFUSED
    limits.identify(first, "192.0.2.1")
    limits.identify(second, "192.0.2.1")
    assert (first.verdict, second.verdict) == (ADMITTED, REFUSED)
    assert limits.arrive("192.0.2.2").verdict is ADMITTED


def test_the_first_address_counts() -> None:
    limits = ConnectionLimits(0, 1)
    first = limits.arrive("192.0.2.1")
    limits.identify(first, "192.0.2.2")
    assert limits.arrive("192.0.2.2").verdict is ADMITTED
    assert limits.arrive("192.0.2.1").verdict is REFUSED


def test_one_without_an_address_counts_in_all_only() -> None:
    limits = ConnectionLimits(3, 1)
    assert [limits.arrive(None).verdict for _ in range(4)] == [*[ADMITTED] * 3, REFUSED]


def test_one_that_is_gone_is_not_identified() -> None:
    limits = ConnectionLimits(0, 1)
    first = limits.arrive()
    limits.leave(first)
    limits.identify(first, "192.0.2.1")
    assert first.verdict is Verdict.GONE
    assert limits.arrive("192.0.2.1").verdict is ADMITTED


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
    ],
)
def test_keys(address: str, key: str) -> None:
    assert address_key(address) == key


STEPS = st.lists(st.tuples(st.sampled_from("aiL"), st.integers(0, 9), st.sampled_from("xyz")))


@given(STEPS, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
def test_the_counts_are_those_of_who_is_there(
    steps: list[tuple[str, int, str]], most: int, most_per_address: int, most_refused: int
) -> None:
    limits = ConnectionLimits(most, most_per_address, most_refused)
    there: list[Admission] = []
    for step, number, address in steps:
        if step == "a":
            there.append(limits.arrive(address if number % 2 else None))
        elif there and step == "i":
            limits.identify(there[number % len(there)], address)
        elif there:
            limits.leave(there[number % len(there)])
        verdicts = [each.verdict for each in there]
        assert limits._admitted == verdicts.count(ADMITTED)
        assert limits._refused == verdicts.count(REFUSED)
        assert limits._admitted <= (most or len(there))
        assert limits._refused <= most_refused
        assert sum(limits._by_address.values()) == sum(each.address is not None for each in there)
        assert max(limits._by_address.values(), default=0) <= most_per_address
    for each in there:
        limits.leave(each)
    assert (limits._admitted, limits._refused, limits._by_address) == (0, 0, {})


def test_limits_may_change_and_those_that_are_there_stay() -> None:
    limits = ConnectionLimits(0)
    there = [limits.arrive("192.0.2.1") for _ in range(3)]
    limits.change(4, 1)
    # Nobody counted by address before.
    assert limits.arrive("192.0.2.1").verdict is ADMITTED
    assert limits.arrive("192.0.2.2").verdict is REFUSED
    limits.change(0, 1)
    assert limits.arrive("192.0.2.1").verdict is REFUSED
    limits.change(1, 0)
    for each in there:
        limits.leave(each)
    assert limits.arrive("192.0.2.1").verdict is REFUSED
    limits.change(2, 0)
    assert limits.arrive("192.0.2.1").verdict is ADMITTED
