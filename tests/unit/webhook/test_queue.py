from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsservice.webhook.queue import BATCH_EVENTS, BATCH_OCTETS, Batch, EventQueue


def said(batch: Batch | None) -> dict[str, Any]:
    assert batch is not None
    body: dict[str, Any] = json.loads(batch.body)
    assert batch.count == len(body["events"])
    return body


def test_events_leave_in_their_order_in_one_batch() -> None:
    queue = EventQueue("id")
    for number in range(3):
        queue.put(b"%d" % number)
    assert len(queue) == 3
    batch = queue.take(7.0)
    assert said(batch) == {"service": "id", "dropped": 0, "events": [0, 1, 2]}
    assert batch is not None
    assert (batch.number, batch.began) == (1, 7.0)
    assert queue.take(8.0) is None


def test_among_others_it_says_by_what_name_they_know_it() -> None:
    queue = EventQueue("id", node="a1")
    queue.put(b"1")
    assert said(queue.take(0)) == {"service": "id", "node": "a1", "dropped": 0, "events": [1]}


def test_a_batch_is_bounded_in_events() -> None:
    queue = EventQueue("id")
    for _ in range(BATCH_EVENTS - 1):
        queue.put(b"1")
    assert not queue.has_batch
    queue.put(b"1")
    full: bool = queue.has_batch
    assert full
    queue.put(b"2")
    assert said(queue.take(0))["events"] == [1] * BATCH_EVENTS
    assert said(queue.take(0))["events"] == [2]


def test_a_batch_is_bounded_in_octets_but_for_one_event_that_is_larger() -> None:
    queue = EventQueue("id")
    half = b'"%s"' % (b"x" * (BATCH_OCTETS // 2))
    large = b'"%s"' % (b"x" * (2 * BATCH_OCTETS))
    for event in (half, half, large, half):
        queue.put(event)
    assert queue.has_batch
    assert [said(queue.take(0))["events"] for _ in range(4)] == [
        [json.loads(each)] for each in (half, half, large, half)
    ]
    assert not queue.has_batch


def test_beyond_its_bounds_the_oldest_are_dropped_and_counted() -> None:
    queue = EventQueue("id", most_events=3, most_octets=10)
    for number in range(5):
        queue.put(b"%d" % number)
    assert (len(queue), queue.dropped) == (3, 2)
    queue.put(b'"1234567"')
    assert said(queue.take(0)) == {"service": "id", "dropped": 4, "events": [4, "1234567"]}
    queue.put(b'"a large one"')
    assert (len(queue), queue.dropped) == (0, 5)


def test_a_peer_that_makes_much_pushes_out_none_but_its_own() -> None:
    queue = EventQueue("id")
    for number in range(100):
        queue.put(b'"early%d"' % number, f"198.51.100.{number}")
    large = b'"%s"' % (b"x" * 16_000)
    for _ in range(1022):
        queue.put(large, "192.0.2.1")
    for _ in range(12_000):
        queue.put(b"0", "192.0.2.2")
    for number in range(100):
        queue.put(b'"late%d"' % number, f"198.51.100.{number}")
    told = []
    while (batch := queue.take(0)) is not None:
        told += said(batch)["events"]
    others = [each for each in told if str(each).startswith(("early", "late"))]
    kinds = ("early", "late")
    assert others == [f"{kind}{number}" for kind in kinds for number in range(100)]
    # Both have what there is room for, each as far as the other does not need it.
    assert 400 < sum(str(each).startswith("x") for each in told) < 1022
    assert 4000 < told.count(0) < 10_000
    assert queue.dropped == 100 + 1022 + 12_000 + 100 - len(told)
    assert len(queue) == 0


def test_of_many_peers_the_one_that_waits_longest_loses() -> None:
    queue = EventQueue("id", most_events=3)
    for number in range(5):
        queue.put(b"%d" % number, f"192.0.2.{number}")
    assert said(queue.take(0))["events"] == [2, 3, 4]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abc"), st.integers(1, 12)),
            st.just(None),
        ),
        max_size=60,
    )
)
def test_however_it_goes_it_is_bounded_and_in_order(steps: list[tuple[str, int] | None]) -> None:
    queue = EventQueue("id", most_events=5, most_octets=30)
    # The peer, number and size of each that waits; the greediest is looked for among all.
    waiting: list[tuple[str, int, int]] = []
    for number, step in enumerate(steps, 100):
        if step is None:
            batch = queue.take(0)
            assert (batch is None) is (not waiting)
            if batch is not None:
                assert [each[0] for each in said(batch)["events"]] == [each[1] for each in waiting]
            waiting.clear()
            continue
        peer, size = step
        event = json.dumps([number, "x" * size]).encode()
        queue.put(event, peer)
        waiting.append((peer, number, len(event)))
        while len(waiting) > 5 or sum(each[2] for each in waiting) > 30:
            shares = Counter[str]()
            for each in waiting:
                shares[each[0]] += each[2] * 5 + 30
            most = max(shares.values())
            waiting.remove(next(each for each in waiting if shares[each[0]] == most))
        assert len(queue) == len(waiting)


def test_what_is_known_of_peers_is_bounded() -> None:
    queue = EventQueue("id", most_events=10)
    for number in range(10_000):
        queue.put(b"0", str(number % 50))
        if number % 7 == 0:
            queue.take(0)
    assert len(queue._peers) <= 10
    assert len(queue._ranks) <= 1100


def test_what_was_taken_makes_room() -> None:
    queue = EventQueue("id", most_octets=2)
    for _ in range(3):
        queue.put(b"10")
        said(queue.take(0))
    assert queue.dropped == 0


def test_forgetting_counts_too() -> None:
    queue = EventQueue("id")
    queue.put(b"1")
    queue.put(b"2")
    assert queue.forget() == 2
    assert (len(queue), queue.dropped, queue.take(0)) == (0, 2, None)
