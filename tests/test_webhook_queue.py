from __future__ import annotations

import json
from typing import Any

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
