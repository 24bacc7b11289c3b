"""budget.py: who gives memory up, and that it is counted once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsservice.protocol.budget import MESSAGE, QUEUE, Budget


class Fake:
    """A connection that holds so many octets."""

    def __init__(self, budget: Budget, octets: int, what: str = MESSAGE) -> None:
        self.budget = budget
        self.what = what
        self.gave_up = False
        self.hold(octets)

    def hold(self, octets: int) -> None:
        self.octets = octets
        self.budget.account(self, octets)

    def holds(self) -> int:
        return self.octets

    def account_anew(self) -> int:
        self.hold(self.octets)
        return self.octets

    def give_up_memory(self) -> str:
        self.gave_up = True
        self.hold(0)
        return self.what


class Room:
    def __init__(self, limit: int = 1000) -> None:
        self.clock = Clock()
        self.budget = Budget(limit, self.clock.seconds)

    def hold(self, *octets: int) -> list[Fake]:
        return [Fake(self.budget, each) for each in octets]

    def who_gives_up(self, among: list[Fake]) -> list[int]:
        self.budget.make_room()
        return [number for number, each in enumerate(among) if each.gave_up]


@pytest.fixture
def room() -> Room:
    return Room()


def test_nobody_gives_up_what_is_within_the_limit(room: Room) -> None:
    assert room.who_gives_up(room.hold(400, 600)) == []
    assert room.budget.octets == 1000


def test_without_a_limit_nobody_ever_does() -> None:
    room = Room(0)
    assert room.who_gives_up(room.hold(10**12)) == []


def test_of_the_same_age_the_largest_goes(room: Room) -> None:
    assert room.who_gives_up(room.hold(300, 500, 400)) == [1]
    assert room.budget.octets == 700
    assert room.budget.given_up == {MESSAGE: 1, QUEUE: 0}


def test_of_the_same_size_the_oldest_goes(room: Room) -> None:
    old = room.hold(400)
    room.clock.advance(30)
    assert room.who_gives_up(old + room.hold(400, 400)) == [0]


def test_what_is_left_unfinished_goes_before_what_is_just_arriving(room: Room) -> None:
    old = room.hold(300)
    room.clock.advance(30)
    assert room.who_gives_up(old + room.hold(800)) == [0]


def test_a_message_that_begins_anew_is_young_again(room: Room) -> None:
    first, second = room.hold(400, 400)
    room.clock.advance(30)
    room.budget.begin_anew(first)
    assert room.who_gives_up([first, second, *room.hold(400)]) == [1]


def test_as_many_go_as_must(room: Room) -> None:
    assert room.who_gives_up(room.hold(*[400] * 10)) == [*range(8)]
    assert room.budget.octets == 800


def test_one_that_gives_nothing_up_does_not_hang_it(room: Room) -> None:
    stubborn = room.hold(2000)[0]
    stubborn.give_up_memory = lambda: QUEUE  # type: ignore[method-assign]
    assert room.who_gives_up([stubborn, *room.hold(100)]) == [1]
    assert room.budget.octets == 2000


def test_nobody_gives_up_what_is_not_held_any_more(room: Room) -> None:
    fakes = room.hold(800, 400)
    fakes[0].octets = 100
    assert room.who_gives_up(fakes) == []
    assert room.budget.octets == 500


def test_giving_up_may_lead_back_here(room: Room) -> None:
    fakes = room.hold(600, 600, 600)
    fakes[0].budget = fakes[1].budget = room.budget

    def give_up() -> str:
        room.budget.make_room()
        fakes[0].hold(0)
        return QUEUE

    fakes[0].give_up_memory = give_up  # type: ignore[method-assign]
    room.budget.make_room()
    assert [each.gave_up for each in fakes] == [False, True, False]
    assert room.budget.given_up == {MESSAGE: 1, QUEUE: 1}


def test_a_frame_in_many_queues_counts_once(room: Room) -> None:
    frame, other = bytes(500), bytes(50)
    for _ in range(3):
        room.budget.enter(frame, 10)
    room.budget.enter(other, 10)
    assert room.budget.octets == 500 + 50 + 4 * 10
    room.budget.leave(frame, 10)
    assert room.budget.octets == 500 + 50 + 3 * 10
    for each in (frame, other, frame):
        room.budget.leave(each, 10)
    assert room.budget.octets == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=50))
def test_the_sum_is_that_of_all_whatever_happens(steps: list[tuple[int, int]]) -> None:
    room = Room()
    fakes = room.hold(0, 0, 0, 0, 0)
    for number, octets in steps:
        fakes[number].hold(octets)
        room.budget.make_room()
        assert room.budget.octets == sum(each.octets for each in fakes) <= 1000
        room.clock.advance(1)
