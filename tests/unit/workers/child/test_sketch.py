from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsservice.workers.child.sketch import LARGEST, LONGEST_KEY, SMALLEST, Census, estimated

KEY = bytes(LONGEST_KEY)


def sketch(sizes: Iterable[tuple[str, int]], key: bytes = KEY) -> dict[str, Any]:
    """Return what a worker tells that has these channels."""
    counts = dict(sizes)
    census = Census(key)
    for name, count in counts.items():
        for each in range(count):
            census.grew(name, each + 1)
    return census.sketch(counts.__getitem__)


@given(
    st.lists(
        st.dictionaries(st.text(st.characters(), max_size=3), st.integers(1, 9), max_size=20),
        max_size=4,
    )
)
def test_of_few_channels_it_is_exact(workers: list[dict[str, int]]) -> None:
    names = {name for each in workers for name in each}
    sums = [sum(each.get(name, 0) for each in workers) for name in names]
    told = [json.loads(json.dumps(sketch(each.items()))) for each in workers]
    assert estimated(told) == (len(names), max(sums, default=0))


def test_of_many_it_is_nearly_right_and_small_whatever_their_names() -> None:
    shared = [f"{'é' * 100}{number}" for number in range(20_000)]
    one = [*((name, 1) for name in shared), *((f"one{n}", 2) for n in range(10_000)), ("top", 50)]
    other = [*((name, 1) for name in shared), *((f"two{n}", 1) for n in range(5)), ("top", 70)]
    told = [sketch(each) for each in (one, other)]
    for each in told:
        assert SMALLEST <= len(each["sizes"]) <= SMALLEST + LARGEST
        assert len(json.dumps(each)) < 40 * (SMALLEST + LARGEST)
    channels, largest = estimated(told)
    assert abs(channels - 30_006) < 0.08 * 30_006  # five times what is usual
    assert largest == 120


def test_where_one_has_few_they_count_as_far_as_the_other_tells() -> None:
    many = sketch((str(number), 1) for number in range(50_000))
    few = sketch((f"few{number}", 1) for number in range(50))
    channels, _ = estimated([many, few])
    assert abs(channels - 50_050) < 0.08 * 50_050


def test_nobody_who_does_not_know_the_key_can_choose_the_numbers() -> None:
    names = [("a", 1), ("b", 1)]
    assert sketch(names) == sketch(names)
    other = sketch(names, random.Random(5).randbytes(LONGEST_KEY))
    numbers = {number for number, _ in other["sizes"]}
    assert numbers.isdisjoint(number for number, _ in sketch(names)["sizes"])


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde")), max_size=60))
def test_it_tells_what_is_there_after_any_changes(changes: list[tuple[bool, str]]) -> None:
    counts: Counter[str] = Counter()
    census = Census(KEY)
    for comes, name in changes:
        if comes:
            counts[name] += 1
            census.grew(name, counts[name])
        elif counts[name]:
            counts[name] -= 1
            census.shrank(name, counts[name])
    there = +counts
    assert census.sketch(counts.__getitem__) == sketch(there.items())
    assert (census.channels, census.largest) == (len(there), max(there.values(), default=0))
    if not there:
        assert not any(census._by_bits.values())
        assert not census._by_size


def test_after_many_came_and_left_it_looks_at_few() -> None:
    counts = {f"{number}": 1 for number in range(60_000)}
    census = Census(KEY)
    for name in counts:
        census.grew(name, 1)
    for number in range(50_000):
        census.shrank(f"{number}", 0)
        del counts[f"{number}"]
    asked = []

    def count_of(name: str) -> int:
        asked.append(name)
        return counts[name]

    channels, largest = estimated([census.sketch(count_of)])
    assert abs(channels - 10_000) < 0.08 * 10_000
    assert largest == 1
    assert len(asked) <= SMALLEST + LARGEST
