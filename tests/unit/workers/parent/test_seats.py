"""The seats of users in all workers, and a worker's questions about them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from wsservice.auth.contract import User
from wsservice.channels.hub import LocalHub
from wsservice.server.admission import Admission, Verdict
from wsservice.server.behaviours import ServerProtocol
from wsservice.server.seats import FULL, NOT_KNOWN
from wsservice.workers.child.seats import SharedSeats
from wsservice.workers.parent.seats import UserSeats
from wsservice.workers.wire.orders import MakeWay, SeatGiven
from wsservice.workers.wire.reports import AskSeat

from ....support import Served


class Bus:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, message: Any) -> None:
        self.said.append(message)


class Worker:
    def __init__(self, *numbers: int) -> None:
        self.bus = Bus()
        self.connections = {each: Admission(Verdict.ADMITTED) for each in numbers}

    def taken(self) -> list[Any]:
        said, self.bus.said = self.bus.said, []
        return said


def seats(most: int, closes: str = "newest") -> UserSeats:
    made = UserSeats()
    made.change(most, closes)
    return made


def ask(seats: UserSeats, worker: Worker, number: int, user: str = "tom") -> bool:
    seats.asked(worker, AskSeat(number, number, user))
    answer = worker.bus.said.pop()
    assert answer.request == number
    return bool(answer.given)


def test_a_user_has_so_many_in_all_workers() -> None:
    one, two = Worker(1, 3, 5), Worker(2, 4)
    here = seats(2)
    assert ask(here, one, 1)
    assert ask(here, two, 2)
    assert not ask(here, one, 3)
    assert ask(here, one, 3, "ann")
    here.left([two.connections[2]])
    assert ask(here, two, 4)
    assert not ask(here, one, 5)
    here.change(0, "newest")
    assert ask(here, one, 5)


def test_the_oldest_makes_way_wherever_it_is() -> None:
    one, two = Worker(1, 3), Worker(2, 4)
    here = seats(2, "oldest")
    for worker, number in ((one, 1), (two, 2), (two, 4)):
        assert ask(here, worker, number)
    assert one.taken() == [MakeWay("tom", (1,))]
    assert two.taken() == []
    # The first has not gone yet, and the second has to go too.
    assert ask(here, one, 3)
    assert one.taken() == [MakeWay("tom", (1,))]
    assert two.taken() == [MakeWay("tom", (2,))]


def test_a_connection_has_one_seat_and_none_once_it_is_gone() -> None:
    one = Worker(1, 2)
    here = seats(1)
    assert ask(here, one, 1)
    assert ask(here, one, 1)
    assert ask(here, one, 1, "ann")
    assert len(here) == 1
    admission = one.connections.pop(1)
    here.left([admission, admission])
    assert len(here) == 0
    assert ask(here, one, 1)  # it is gone already
    assert (len(here), here._users) == (0, {})


class Connection:
    def __init__(self, number: int, user: str = "tom") -> None:
        self.id = str(number)
        self.user = User(user)
        self.channel, self.channels = "a", ("a",)
        self.state = self.STATE_OPEN = 3
        self.codes: list[int] = []

    def fail_connection(self, code: int, _reason: str) -> None:
        self.codes.append(code)


class Child:
    """A worker's end."""

    def __init__(self, most: int = 1) -> None:
        self.bus = Bus()
        self.clock = Clock()
        bus: Any = self.bus
        self.seats = SharedSeats(bus, self.clock)
        self.seats.hub = self.hub = LocalHub()
        self.seats.change(most, "oldest")

    def claim(self, connection: Connection) -> list[Any]:
        found: list[Any] = []
        claimed: Any = self.seats.claim(connection)
        claimed.addCallback(found.append)
        return found


def test_a_worker_asks_only_if_there_is_a_limit() -> None:
    child = Child(0)
    assert child.seats.claim(Connection(7)) is None
    assert child.bus.said == []


def test_a_worker_does_as_its_parent_says() -> None:
    child = Child()
    one, two = child.claim(Connection(7)), child.claim(Connection(8))
    assert child.bus.said == [AskSeat(1, 7, "tom"), AskSeat(2, 8, "tom")]
    child.seats.hear(SeatGiven(2, False))
    child.seats.hear(SeatGiven(1, True))
    child.seats.hear(SeatGiven(1, True))
    assert (one, two) == ([None], [FULL])
    assert child.clock.calls == []


def test_no_answer_is_no_seat() -> None:
    child = Child()
    one = child.claim(Connection(7))
    child.clock.advance(2)
    assert one == [NOT_KNOWN]
    two = child.claim(Connection(8))
    child.seats.end()
    assert two == [NOT_KNOWN]


def test_the_connections_that_must_go_are_closed() -> None:
    child = Child()
    here: list[Any] = [Connection(7), Connection(8), Connection(9, "ann")]
    for each in here:
        child.hub.arrive(each)
        child.hub.join(each)
    child.seats.hear(MakeWay("tom", (8, 9, 10)))
    assert [each.codes for each in here] == [[], [1008], []]


@pytest.mark.parametrize("user", ["tom", "nobody"])
def test_an_order_for_one_that_is_gone_does_nothing(user: str) -> None:
    Child().seats.hear(MakeWay(user, (1,)))


def test_a_client_is_told_before_the_time_of_its_handshake_is_over() -> None:
    class Tom(ServerProtocol):
        def onConnect(self, request: Any) -> None:
            self.user = User("tom")

    served = Served(Tom, max_connections_per_user=1)
    seats = SharedSeats(Bus(), served.clock)  # type: ignore[arg-type]
    seats.hub, seats.most = served.hub, 1
    served.factory.seats = seats
    client = served.connect()
    assert client.ask() == b""
    served.clock.advance(served.config.handshake_timeout)
    assert client.taken().startswith(b"HTTP/1.1 503 ")
