from __future__ import annotations

import re

import pytest

from wsservice.cli.goal import Goal


def waits(goal: Goal) -> bool:
    return goal.waits


def test_nothing_that_was_asked_for_is_never_enough() -> None:
    goal = Goal()
    assert not waits(goal)
    assert not goal.received(b"x")
    assert not waits(goal)
    assert goal.reached(1000)
    assert goal.reached(4001)
    assert goal.progress == ""


def test_so_many_messages_are_enough() -> None:
    goal = Goal(count=2)
    assert not goal.received(b"")
    assert waits(goal)
    assert not goal.reached(1000)
    assert goal.progress == " after 1 of 2 messages"
    assert goal.received(b"")
    assert not waits(goal)
    assert goal.reached(1000)
    assert goal.progress == ""


@pytest.mark.parametrize(
    ("pattern", "printed"),
    [
        ("b.d", b"abcde"),
        ("^é$", "é".encode()),
        ("a", b"\xff a"),
        ("(?s)a.b", b"a\nb"),
    ],
)
def test_a_message_in_which_it_is_found_is_enough(pattern: str, printed: bytes) -> None:
    goal = Goal(until=re.compile(pattern))
    assert waits(goal)
    assert not goal.received(b"nothing")
    assert goal.progress == " before a message matched"
    assert goal.received(printed)
    assert not waits(goal)


def test_of_a_number_and_a_match_the_first_is_enough() -> None:
    by_match, by_count = (Goal(count=2, until=re.compile("x")) for _ in range(2))
    assert by_match.received(b"x")
    assert not by_count.received(b"y")
    assert by_count.received(b"y")


def test_a_close_is_waited_for_after_the_messages() -> None:
    goal = Goal(count=1, expect_close=4001)
    assert not goal.reached(4001)
    assert goal.received(b"")
    assert waits(goal)
    assert not goal.reached(1000)
    assert goal.reached(4001)
