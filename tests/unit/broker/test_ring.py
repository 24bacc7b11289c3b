from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.ring import Ring

SERVERS = [f"redis://redis-{number}:6379" for number in range(5)]
CHANNELS = [f"room-{number}" for number in range(5000)]
NAMES = st.lists(st.text(st.characters(), min_size=1), min_size=1, max_size=6, unique=True)


def test_one_server_has_all() -> None:
    ring = Ring(SERVERS[:1])
    assert {ring.place(each) for each in CHANNELS} == {0}


def test_each_server_has_its_share() -> None:
    ring = Ring(SERVERS)
    shares = Counter(ring.place(each) for each in CHANNELS)
    fair = len(CHANNELS) / len(SERVERS)
    assert all(0.6 * fair < shares[place] < 1.4 * fair for place in range(len(SERVERS)))


def test_where_one_is_added_only_what_is_its_moves() -> None:
    before, after = Ring(SERVERS[:4]), Ring(SERVERS)
    moved = [each for each in CHANNELS if before.place(each) != after.place(each)]
    assert {after.place(each) for each in moved} == {4}
    assert len(moved) < len(CHANNELS) * 0.3


def test_it_is_the_same_for_all_nodes_of_all_versions() -> None:
    # What another node found out, written down: it may not change.
    ring = Ring(SERVERS[:3])
    assert [ring.place(each) for each in ("", "chat", "news", "room-1", "\u00e4", "\ud800")] == [
        0, 2, 2, 0, 1, 2,
    ]  # fmt: skip


@given(NAMES, st.text(st.characters()), st.randoms(use_true_random=False))
def test_the_order_of_servers_does_not_matter(
    names: list[str], channel: str, random: object
) -> None:
    other = sorted(names)
    assert names[Ring(names).place(channel)] == other[Ring(other).place(channel)]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_names_are_one_at_least_and_different(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\["):
        Ring(names)
