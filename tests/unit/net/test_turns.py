"""Whose turn it is: the order, and the time that a turn takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wsservice.net import turns
from wsservice.net.gathering import Gathering
from wsservice.net.turns import BEGINNING_SECONDS, FIRST_SLICE_SECONDS, SLICE_SECONDS, Turns
from wsservice.protocol.sending import Bound, Kind, SendQueue

from ...support import TEXT, Client, Logged, Recorder, Served, frame, one_turn


class House:
    """Connections on a clock: each has its work to do, in slices, and says when it did some."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gathering = Gathering()
        self.turns = Turns(self.clock, self.gathering)
        self.order: list[str] = []

    def turn(self) -> tuple[list[str], float]:
        """One turn of the reactor: who had a share of it, and its seconds."""
        before, began = len(self.order), self.clock.seconds()
        one_turn(self.clock)
        return self.order[before:], self.clock.seconds() - began


class Heavy:
    """A connection that was cut short, and has some seconds of work left."""

    transport = None

    def __init__(self, house: House, name: str, work: float) -> None:
        self.house = house
        self.name = name
        self.work = work
        house.turns.later(self)

    def take_turn(self) -> None:
        house = self.house
        house.order.append(self.name)
        took = min(self.work, house.turns.slice)
        self.work -= took
        house.clock.rightNow += took
        if self.work > 1e-9:
            house.turns.later(self)


@pytest.fixture
def house() -> House:
    return House()


def test_a_turn_takes_twice_a_slice_however_many_wait(house: House) -> None:
    for number in range(200):
        Heavy(house, str(number), 0.1)
    for _ in range(10):
        served, seconds = house.turn()
        assert 1 <= len(served) <= 2
        assert seconds <= BEGINNING_SECONDS + SLICE_SECONDS + 1e-9


def test_each_has_its_turn_before_any_has_a_second(house: House) -> None:
    names = [str(number) for number in range(20)]
    for name in names:
        Heavy(house, name, 0.1)
    served: list[str] = []
    while len(served) < 40:
        served += house.turn()[0]
    assert served[:40] == names + names


@given(work=st.lists(st.floats(0.0001, 0.03), min_size=1, max_size=20))
def test_all_work_is_done_and_then_nobody_waits(work: list[float]) -> None:
    house = House()
    heavy = [Heavy(house, str(number), each) for number, each in enumerate(work)]
    for _ in range(10 * len(work)):
        house.turn()
    assert all(each.work < 1e-6 for each in heavy)
    assert not house.turns.crowded
    assert not house.turns.marks
    assert house.turns.slice == SLICE_SECONDS
    assert not house.clock.getDelayedCalls()


def test_one_that_does_not_go_on_any_more_is_passed_over(house: House) -> None:
    Heavy(house, "first", 0.001).take_turn = lambda: None  # type: ignore[method-assign]
    Heavy(house, "second", 0.001)
    assert house.turn()[0] == ["second"]


class Sockets:
    """A source of events. Tests set each one's seconds and octets, else it has a word to read."""

    def __init__(self, house: House, costs: dict[int, float]) -> None:
        self.house = house
        self.costs = costs
        self.ready: dict[int, int] = {}
        self.octets: dict[int, int] = {}
        self.slices: list[float] = []
        house.turns.poll_by(self)

    def poll(self, most: int) -> list[tuple[int, int]]:
        return [*self.ready.items()][:most]

    def serve(self, fd: int, event: int) -> None:
        house = self.house
        self.ready.pop(fd)
        self.slices.append(house.turns.slice)
        house.order.append(str(fd))
        house.clock.rightNow += self.costs[fd]

    def end(self, transport: Any) -> bool:
        return False

    def waiting(self, fd: int) -> int:
        return self.octets.get(fd, 12)


def test_a_connection_is_charged_for_cpu_time_and_not_for_what_a_busy_machine_took(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = {7: 0.00005, 8: 0.00005, 9: 0.001, 10: 0.00005, 11: 0.0002}
    away = {8: 0.0003, 9: 0.0005, 11: 0.0004}
    asked: list[float] = []
    began = house.clock.seconds()

    def used() -> float:
        lost = sum(away.get(int(each), 0.0) for each in house.order)
        asked.append(house.clock.seconds() - began - lost)
        return asked[-1]

    monkeypatch.setattr(house.turns, "_used", used)
    Heavy(house, "flood", 0.001).take_turn = lambda: None  # type: ignore[method-assign]
    charged: dict[object, float] = {}
    monkeypatch.setattr(house.turns, "_charge", charged.__setitem__)
    sockets = Sockets(house, {fd: cpu[fd] + away.get(fd, 0.0) for fd in cpu})
    sockets.ready = dict.fromkeys(cpu, 1)
    house.turn()
    assert charged == {9: pytest.approx(0.001), 11: pytest.approx(0.0002)}
    # Not for each: it is a call of the system.
    assert len(asked) <= 2 + len(away) + 1


def test_the_light_go_before_all_that_wait_at_each_turn(house: House) -> None:
    for number in range(200):
        Heavy(house, f"heavy {number}", 1.0)
    sockets = Sockets(house, {7: 0.00001})
    for _ in range(20):
        sockets.ready[7] = 1
        served, _ = house.turn()
        assert served[0] == "7"
        assert len(served) > 1


def test_of_a_thousand_that_begin_to_flood_none_goes_before_one_that_says_little(
    house: House,
) -> None:
    Heavy(house, "heavy", 1.0)
    floods = range(10, 1010)
    sockets = Sockets(house, dict.fromkeys(floods, 0.00018) | {2000: 0.00001})
    sockets.octets = dict.fromkeys(floods, 60_000) | {2000: 12}
    sockets.ready = dict.fromkeys(floods, 1)
    for _ in range(10):
        house.turn()
        sockets.ready[2000] = 1
        assert house.turn()[0][0] == "2000"


def test_of_many_short_messages_that_take_long_none_goes_before_a_word(house: House) -> None:
    Heavy(house, "heavy", 1.0)
    many = range(10, 110)
    sockets = Sockets(house, dict.fromkeys(many, 0.010) | {2000: 0.00001})
    sockets.octets = dict.fromkeys(many, 1_300) | {2000: 12}
    sockets.ready = dict.fromkeys(many, 1)
    for _ in range(90):
        house.turn()
        sockets.ready[2000] = 1
        assert house.turn()[0][0] == "2000"


def test_words_without_end_and_other_work_have_half_of_the_time_each(house: House) -> None:
    many = range(10, 110)
    sockets = Sockets(house, dict.fromkeys(many, 0.00005) | {2000: 0.0005, 2001: 0.0005})
    sockets.octets = {2000: 1_000_000, 2001: 300}
    Heavy(house, "heavy", 10.0)
    for _ in range(200):
        # A turn has time for fewer than are ready.
        sockets.ready |= dict.fromkeys((*many, 2000, 2001), 1)
        house.turn()
    words = sum(int(each) < 2000 for each in house.order if each != "heavy")
    assert 0.00005 * words == pytest.approx(house.clock.seconds() / 2, rel=0.05)
    assert house.order.count("heavy") > 50
    assert min(house.order.count("2000"), house.order.count("2001")) > 50


def test_a_handshake_does_not_wait_for_a_round_of_unknown_messages(house: House) -> None:
    many = range(10, 210)
    sockets = Sockets(house, dict.fromkeys(many, 0.010) | {2000: 0.0015})
    sockets.octets = dict.fromkeys(many, 1_300) | {2000: 517}
    sockets.ready = dict.fromkeys(many, 1)
    house.turns.leave([(10, 1)])
    house.turn()
    house.turns.begin(2000)
    for _ in range(2):
        sockets.ready[2000] = 1
        turns = 1
        while "2000" not in house.turn()[0]:
            turns += 1
        assert turns <= 2


def test_much_to_read_does_not_wait_for_ever_behind_new_connections(house: House) -> None:
    new = range(10, 210)
    sockets = Sockets(house, dict.fromkeys(new, 0.0005) | {2000: 0.001})
    sockets.octets = dict.fromkeys(new, 200) | {2000: 60_000}
    sockets.ready[2000] = 1
    house.turns.leave([(2000, 1)])
    while "2000" not in house.order:
        assert house.clock.seconds() < 4.5
        for fd in new:
            if fd not in sockets.ready:
                house.turns.begin(fd)
                sockets.ready[fd] = 1
        house.turn()


def test_words_save_up_no_more_than_a_slice(house: House) -> None:
    many = range(10, 210)
    sockets = Sockets(house, dict.fromkeys(many, 0.00005))
    Heavy(house, "heavy", 10.0)
    for _ in range(100):
        house.turn()
    served: list[str] = []
    while "heavy" not in served:
        sockets.ready |= dict.fromkeys(many, 1)
        served += house.turn()[0]
    assert 0.00005 * len(served) < 3 * SLICE_SECONDS


def test_no_word_waits_for_ever_behind_quicker_ones(house: House) -> None:
    Heavy(house, "heavy", 10.0)
    many = range(10, 210)
    sockets = Sockets(house, dict.fromkeys(many, 0.00009) | {2000: 0.0003})
    for _ in range(500):
        sockets.ready |= dict.fromkeys((*many, 2000), 1)
        house.turn()
    each = [house.order.count(str(fd)) * sockets.costs[fd] for fd in (*many, 2000)]
    assert max(each) - min(each) < 2 * 0.0003


@pytest.mark.parametrize("handshake", [0.0004, 0.001])
@pytest.mark.parametrize("octets", [150, 15_000])
def test_a_word_now_and_then_does_not_wait_for_a_crowd_of_new_connections(
    house: House, handshake: float, octets: int
) -> None:
    crowd = range(10, 2010)
    sockets = Sockets(house, dict.fromkeys(crowd, handshake) | {3000: 0.00015})
    sockets.octets = dict.fromkeys(crowd, octets)
    for fd in crowd:
        house.turns.begin(fd)
    sockets.ready = dict.fromkeys(crowd, 1)
    house.turns.leave([(10, 1)])
    left = {*map(str, crowd)}
    while left:
        # It is charged for each of its words, and says more than any of them.
        sockets.ready[3000] = 1
        served, seconds = house.turn()
        assert served.index("3000") <= 4
        assert seconds < BEGINNING_SECONDS + handshake + 0.00015
        left -= {*served}
    assert house.clock.seconds() < 2000 * handshake * 1.5


def test_a_word_does_not_wait_for_a_crowd_that_leaves(house: House) -> None:
    crowd = range(10, 2010)
    sockets = Sockets(house, dict.fromkeys(crowd, 0.0002) | {3000: 0.00015})
    sockets.octets = dict.fromkeys(crowd, 0)
    sockets.ready = dict.fromkeys(crowd, 1)
    house.turns.leave([(10, 1)])
    for _ in range(80):
        sockets.ready[3000] = 1
        assert house.turn()[0].index("3000") <= 20


def test_a_word_does_not_wait_for_those_of_ever_new_connections(house: House) -> None:
    Heavy(house, "heavy", 10.0)
    new = itertools.count(4000)
    sockets = Sockets(house, dict.fromkeys(range(4000, 40_000), 0.0001) | {3000: 0.00015})
    turns_for_all = 200 * 0.0001 / (BEGINNING_SECONDS / 2)
    waited = []
    for _ in range(50):
        sockets.ready[3000] = 1
        for turn in itertools.count(1):
            while len(house.turns._left) + len(sockets.ready) < 200:
                sockets.ready[next(new)] = 1
            if "3000" in house.turn()[0]:
                break
            assert turn < 100
        waited.append(turn)
    assert sorted(waited)[25] <= turns_for_all
    assert max(waited) <= 2 * turns_for_all  # until it is known how long a word takes


def test_the_end_of_a_connection_does_not_wait_for_those_of_ever_new_ones(house: House) -> None:
    new = range(4000, 8000)
    sockets = Sockets(house, dict.fromkeys(new, 0.0015) | {3000: 0.002})
    sockets.octets = dict.fromkeys(new, 500) | {3000: 500}
    numbers = iter(new)
    for octets in (500, 0):  # its handshake, for which it is charged, and its end
        sockets.octets[3000] = octets
        sockets.ready[3000] = 1
        house.turns.leave([(3000, 1)])
        for _ in range(200):
            while len(house.turns._left) + len(sockets.ready) < 50:
                sockets.ready[next(numbers)] = 1
            if "3000" in house.turn()[0]:
                break
        else:
            pytest.fail("it waits for all of them")


def test_a_new_connection_says_words_once_its_handshake_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "descriptor", lambda transport: transport)
    sockets = Sockets(house, dict.fromkeys((7, 8, 9), 0.0001))
    for fd in (7, 8, 9):
        house.turns.begin(fd)
    house.turns.opened(None)
    house.turns.opened(8)
    sockets.ready = dict.fromkeys((7, 8, 9), 1)
    house.turns.leave([(7, 1)])
    assert house.turn()[0] == ["8", "7", "9"]


def test_a_connection_tells_when_its_handshake_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(Recorder, ping_interval=0, handshake_timeout=0)
    opened: list[Any] = []
    monkeypatch.setattr(served.factory.turns, "opened", opened.append)
    client = served.connect()
    assert not opened
    client.open()
    assert opened == [client.transport]


def test_a_little_use_is_none_among_those_that_are_not_known_yet(house: House) -> None:
    Heavy(house, "heavy", 1.0)
    floods = range(10, 510)
    sockets = Sockets(house, dict.fromkeys(floods, 0.00018) | {2000: 0.0002})
    sockets.octets = dict.fromkeys(floods, 60_000) | {2000: 12}
    sockets.ready = dict.fromkeys(floods, 1)
    for _ in range(3):
        sockets.ready[2000] = 1
        assert house.turn()[0][0] == "2000"


@pytest.mark.parametrize("octets", [12, 2_000])
def test_bursts_that_end_in_time_are_not_light(house: House, octets: int) -> None:
    Heavy(house, "flood", 1.0)
    bursts = range(10, 60)
    sockets = Sockets(house, dict.fromkeys(bursts, 0.0004) | {7: 0.00001})
    sockets.octets = dict.fromkeys(bursts, octets)
    before: list[list[str]] = []
    for _ in range(50):
        sockets.ready |= dict.fromkeys((*bursts, 7), 1)
        served, _ = house.turn()
        before.append(served[: served.index("7")] if "7" in served else served)
    # At first they are unknown; afterwards the light one is before them.
    assert {each for some in before[-30:] for each in some} <= {"flood"}


def test_a_little_use_costs_no_round_where_all_that_flood_have_the_same_mark(
    house: House,
) -> None:
    for number in range(200):
        Heavy(house, f"heavy {number}", 1.0)
    sockets = Sockets(house, {7: 0.0002})
    for _ in range(10):
        sockets.ready[7] = 1
        assert house.turn()[0][0] == "7"


def test_the_second_half_of_a_tls_handshake_does_not_wait_for_a_round(house: House) -> None:
    for number in range(200):
        Heavy(house, f"heavy {number}", 1.0)
    sockets = Sockets(house, {7: 0.002})
    sockets.ready[7] = 1
    assert house.turn()[0][0] == "7"
    sockets.ready[7] = 1
    turns = 1
    while "7" not in house.turn()[0]:
        turns += 1
    assert turns <= 20  # a round has more than 100


def test_what_was_just_read_has_a_short_slice_while_others_wait(house: House) -> None:
    Heavy(house, "heavy", 1.0)
    few = Sockets(house, dict.fromkeys(range(10, 20), 0.0))
    few.ready = dict.fromkeys(few.costs, 1)
    house.turn()
    assert few.slices == 10 * [FIRST_SLICE_SECONDS]
    assert house.turns.slice == FIRST_SLICE_SECONDS
    many = Sockets(house, dict.fromkeys(range(1010, 2010), 0.0))
    many.ready = dict.fromkeys(many.costs, 1)
    house.turn()
    assert many.slices == [pytest.approx(0.00004)] * 1000


@pytest.fixture
def logged() -> Iterator[Logged]:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    yield logged
    globalLogPublisher.removeObserver(logged)


def test_what_is_sent_leaves_by_its_end_and_what_a_write_or_a_connection_raises_ends_no_turn(
    house: House, logged: Logged
) -> None:
    written: list[bytes] = []

    def fail(*_: object) -> None:
        raise ValueError("oops")

    good = SendQueue(written.append, Bound(0), house.gathering)
    bad = SendQueue(fail, Bound(0), house.gathering)

    class Says(Heavy):
        def take_turn(self) -> None:
            super().take_turn()
            bad.put(b"a", Kind.MESSAGE)
            good.put(self.name.encode(), Kind.MESSAGE)
            assert house.gathering.under_way
            fail()

    Says(house, "b", 0.0001)
    Says(house, "c", 0.0001)
    house.turn()
    assert written == [b"bc"]
    assert not house.gathering.under_way
    assert len([each for each in logged.events if "log_failure" in each]) == 3


class Slow(Recorder):
    """Takes a quarter of a millisecond for a message."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.factory.reactor.rightNow += 0.00025


def test_connections_that_flood_take_turns_and_lose_nothing() -> None:
    served = Served(Slow, ping_interval=0, handshake_timeout=0)
    clients: list[Client] = [served.connect().open() for _ in range(5)]
    for client in clients:
        client.send(frame(TEXT, b"x") * 400)
    last: Any = None
    for _ in range(200):
        began = served.clock.seconds()
        one_turn(served.clock)
        # A batch is worked off before the clock is looked at.
        assert (
            served.clock.seconds() - began <= BEGINNING_SECONDS + 2 * 32 * 0.00025 + SLICE_SECONDS
        )
        last = [len(client.protocol.seen) for client in clients]
        assert max(last) - min(last) <= 2 * 32
    assert last == 5 * [400]
    assert not any(client.transport.is_paused() for client in clients)


def test_a_connection_whose_slice_is_ended_goes_on_in_the_next_turn() -> None:
    served = Served(Recorder, ping_interval=0, handshake_timeout=0)
    client = served.connect().open()
    seen = client.protocol.seen
    client.send(frame(TEXT, b"1"))
    before = len(seen)
    client.protocol.end_slice()
    client.protocol.end_slice()
    client.send(frame(TEXT, b"2"))
    assert len(seen) == before
    one_turn(served.clock)
    client.send(frame(TEXT, b"3"))
    assert len(seen) == before + 2
    assert not client.transport.is_paused()
