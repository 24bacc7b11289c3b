from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.waiting import (
    BATCH_MESSAGES,
    BATCH_OCTETS,
    FIELDS,
    LEAST,
    Room,
    Waiting,
    size_of,
)
from wsservice.log.peer import Who

LARGE = Room(10**6, 10**9)


class Connection:
    id = "7"
    who = "[7] 192.0.2.1:5000"
    channel = "chat"


SENDER = Connection()


def test_what_a_message_is_in_the_stream() -> None:
    waiting = Waiting()
    waiting.put(SENDER, b"\x00\xff", True, 1_800_000_000.0)
    waiting.put(SENDER, b"hello", False, 1_800_000_001.5)
    one, other = (dict(zip(FIELDS, each, strict=True)) for each in waiting.batch())
    assert one == {
        "number": 1,
        "connection": "7",
        "peer": "192.0.2.1:5000",
        "user": "",
        "channel": "chat",
        "payload": b"\x00\xff",
        "binary": 1,
        "time": "2027-01-15T08:00:00.000Z",
    }
    assert (other["number"], other["payload"], other["binary"]) == (2, b"hello", 0)


def test_the_user_is_in_the_stream_and_counts_towards_the_memory() -> None:
    named = Connection()
    named.who = Who.of("7 192.0.2.1:5000", "é" * 127)
    waiting = Waiting()
    waiting.put(named, b"", False, 0.0)
    one = dict(zip(FIELDS, waiting.batch()[0], strict=True))
    assert (one["peer"], one["user"]) == ("192.0.2.1:5000", "é" * 127)
    assert size_of(named, b"") >= size_of(SENDER, b"") + 127


def test_a_channel_that_is_no_text_can_be_sent_all_the_same() -> None:
    odd = Connection()
    odd.channel = "a\ud800"
    waiting = Waiting()
    waiting.put(odd, b"", False, 0.0)
    assert waiting.batch()[0][4] == "a?"


def test_they_wait_until_they_are_appended() -> None:
    waiting = Waiting()
    for number in range(5):
        waiting.put(SENDER, b"%d" % number, False, 0.0)
    batch = waiting.batch()
    assert waiting.batch() == batch
    waiting.put(SENDER, b"5", False, 0.0)
    assert len(waiting) == 6
    waiting.appended(batch)
    assert [each[5] for each in waiting.batch()] == [b"5"]


def test_a_batch_is_bounded_in_messages() -> None:
    waiting = Waiting()
    for _ in range(BATCH_MESSAGES + 1):
        waiting.put(SENDER, b"", False, 0.0)
    assert len(waiting.batch()) == BATCH_MESSAGES


def test_a_batch_is_bounded_in_octets_but_has_one_message() -> None:
    waiting = Waiting()
    for size in (BATCH_OCTETS * 2, BATCH_OCTETS // 2, BATCH_OCTETS // 2):
        waiting.put(SENDER, b"x" * size, False, 0.0)
    sizes = []
    while batch := waiting.batch():
        sizes.append(len(batch))
        waiting.appended(batch)
    assert sizes == [1, 1, 1]


def test_room_is_of_messages_and_of_octets() -> None:
    waiting = Waiting()
    size = size_of(SENDER, b"x" * 1000)
    assert not waiting.fits(Room(0, 10**6), 0)
    assert waiting.fits(Room(1, 10**6), 0)
    waiting.put(SENDER, b"x" * 1000, False, 0.0)
    assert not waiting.fits(Room(1, 10**6), 0)
    assert waiting.fits(Room(2, 2 * size), size)
    assert not waiting.fits(Room(2, 2 * size - 1), size)


@pytest.mark.parametrize("channel", ["", "a" * 255, "\U0001f600" + "a" * 251])
def test_what_it_takes_is_what_is_counted_whatever_its_channel_is_called(channel: str) -> None:
    waiting = Waiting()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(1000):
        sender = Connection()  # which is gone right after
        sender.channel = channel[:-1] + "b"
        waiting.put(sender, b"%d" % number, False, 1.8e9 + number)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert not waiting.fits(Room(10**6, int(used / 1.1)), 0)


@given(st.lists(st.integers(0, 3000)))
def test_nothing_is_counted_of_what_is_gone(sizes: list[int]) -> None:
    waiting = Waiting()
    for size in sizes:
        waiting.put(SENDER, bytes(size), False, 0.0)
    numbers: list[int] = []
    while batch := waiting.batch():
        numbers += [each[0] for each in batch]
        waiting.appended(batch)
    assert numbers == list(range(1, len(sizes) + 1))
    assert waiting.fits(Room(1, LEAST), LEAST)
    assert not waiting.fits(Room(1, LEAST), LEAST + 1)
