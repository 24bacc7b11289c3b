from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.client.arrivals import Arrivals


class Pings:
    """A connection that is asked."""

    def __init__(self) -> None:
        self.pings: list[Deferred[float]] = []

    def ping(self) -> Deferred[float]:
        self.pings.append(Deferred())
        return self.pings[-1]


class Counting:
    def __init__(self) -> None:
        self.clock = Clock()
        self.arrivals = Arrivals(self.clock)
        self.line = Pings()
        self.arrivals.begin(self.line)

    def send(self, count: int) -> None:
        for _ in range(count):
            self.arrivals.sent()


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_what_was_sent_and_not_answered_for_may_be_lost(counting: Counting) -> None:
    counting.send(2)
    assert counting.arrivals.lost() == 2
    # The next connection has nothing to do with it.
    counting.arrivals.begin(Pings())
    assert counting.arrivals.lost() == 0


def test_a_pong_tells_what_arrived_before_its_ping(counting: Counting) -> None:
    counting.send(2)
    counting.clock.advance(1)
    counting.send(1)
    counting.line.pings[0].callback(0.1)
    assert counting.arrivals.lost() == 1


def test_it_is_asked_for_once_in_a_second_and_only_if_in_doubt(counting: Counting) -> None:
    asked = []
    for _ in range(4):
        counting.send(1)
        counting.clock.advance(0.5)
        asked.append(len(counting.line.pings))
    assert asked == [0, 1, 1, 1]  # the first is not answered yet
    counting.line.pings[0].callback(0.1)
    counting.clock.advance(1)
    assert len(counting.line.pings) == 2
    counting.line.pings[1].callback(0.1)
    assert counting.clock.getDelayedCalls() == []
    assert counting.arrivals.lost() == 0


def test_a_ping_that_fails_tells_nothing(counting: Counting) -> None:
    counting.send(1)
    counting.clock.advance(1)
    counting.line.pings[0].errback(KeyError("over"))
    assert counting.arrivals.lost() == 1


def test_an_answer_of_the_connection_before_counts_for_nothing(counting: Counting) -> None:
    counting.send(1)
    counting.clock.advance(1)
    counting.arrivals.lost()
    counting.arrivals.begin(Pings())
    counting.send(1)
    counting.line.pings[0].callback(0.1)
    assert counting.arrivals.lost() == 1


def test_the_next_connection_is_asked_anew(counting: Counting) -> None:
    counting.send(1)
    counting.clock.advance(1)
    counting.arrivals.lost()
    following = Pings()
    counting.arrivals.begin(following)
    counting.send(1)
    counting.clock.advance(1)
    assert len(following.pings) == 1


def test_nothing_is_asked_of_a_connection_that_is_lost(counting: Counting) -> None:
    counting.send(1)
    counting.arrivals.lost()
    assert counting.clock.getDelayedCalls() == []
