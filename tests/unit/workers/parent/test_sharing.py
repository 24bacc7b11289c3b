from __future__ import annotations

from typing import Any

import pytest

from wsservice.http.forwarded import TrustedProxies
from wsservice.server.admission import ConnectionLimits, Verdict
from wsservice.workers.parent.process import Worker
from wsservice.workers.parent.sharing import Sharing


class Connection:
    """An accepted socket."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Listener:
    """A socket on which so many want to connect."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.address: Any = ("192.0.2.1", 5000)

    def accept(self) -> Any:
        if not self.waiting:
            raise BlockingIOError
        self.waiting -= 1
        return Connection(), self.address


class Port:
    """A port of Twisted's."""

    connected = True
    disconnecting = False

    def __init__(self, waiting: int = 0) -> None:
        self.socket = Listener(waiting)
        self.reading: Any = True
        self.doRead: Any = None

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False


class Fake:
    """A worker that takes what it is handed, where it has room."""

    load = property(lambda self: len(self.connections))
    took = Worker.took

    def __init__(self, room: int = 10**6) -> None:
        self.connections: dict[int, Any] = {}
        self.untaken: dict[int, None] = {}
        self.silence = 0
        self.room = room
        self.got: list[Any] = []
        self.kept: list[Any] = []

    def hand(self, place: int, connection: Any, handing: Any) -> bool:
        if self.room <= len(self.got):
            return False
        self.got.append((place, handing))
        return True

    def take_back(self) -> list[Any]:
        kept, self.kept = self.kept, []
        return kept


class Service:
    """Ports and workers, and what is between them."""

    def __init__(self, count: int = 2, most: int = 0, per_address: int = 0) -> None:
        self.workers = [Fake() for _ in range(count)]
        self.limits = ConnectionLimits(most, per_address)
        workers: Any = lambda: list(self.workers)  # noqa: E731
        self.sharing = Sharing(self.limits, workers, peers_come_later=False)
        self.port = Port()
        self.sharing.serve([Port(), self.port])

    def come(self, count: int) -> None:
        """Make `count` clients connect."""
        self.port.socket.waiting += count
        for _ in range(count):
            self.port.doRead()
            for worker in self.workers:
                worker.untaken.clear()

    @property
    def loads(self) -> list[int]:
        return [worker.load for worker in self.workers]


@pytest.fixture
def service() -> Service:
    return Service()


def test_each_is_handed_to_the_one_with_the_fewest(service: Service) -> None:
    service.come(7)
    assert sorted(service.loads) == [3, 4]
    service.workers.append(Fake())
    service.come(3)
    assert service.workers[2].load == 3
    place, handing = service.workers[2].got[0]
    assert place == 1
    assert handing.address == ("192.0.2.1", 5000)
    numbers = sorted(handing.number for worker in service.workers for _, handing in worker.got)
    assert numbers == list(range(1, 11))


def test_ties_are_broken_in_turn() -> None:
    service = Service(4)
    for _ in range(8):
        service.come(1)
    assert service.loads == [2] * 4


def test_limits_are_judged_here_and_carried_out_there() -> None:
    service = Service(most=2)
    service.come(3)
    verdicts = [handing.verdict for worker in service.workers for _, handing in worker.got]
    assert sorted(each.name for each in verdicts) == ["ADMITTED", "ADMITTED", "REFUSED"]
    admissions = list(service.workers[0].connections.values())
    service.sharing.left(admissions)
    assert service.limits.arrive().verdict is Verdict.ADMITTED


def test_so_is_that_of_an_address() -> None:
    service = Service(per_address=1)
    service.come(2)
    service.port.socket.address = ("192.0.2.2", 5000)
    service.come(1)
    verdicts = {handing.number: handing.verdict for w in service.workers for _, handing in w.got}
    assert [verdicts[number].name for number in (1, 2, 3)] == ["ADMITTED", "REFUSED", "ADMITTED"]
    service.port.socket.address = ""
    service.come(1)


def test_a_trusted_proxy_is_not_counted_since_a_worker_learns_the_client() -> None:
    service = Service(per_address=1)
    service.sharing.trusted = TrustedProxies.of(["192.0.2.0/24"])
    service.come(4)
    verdicts = [handing.verdict for worker in service.workers for _, handing in worker.got]
    assert verdicts == [Verdict.ADMITTED] * 4


def test_behind_a_balancer_addresses_are_not_known_here() -> None:
    service = Service(per_address=1)
    service.sharing._peers_come_later = True
    service.come(3)
    assert all(handing.verdict is Verdict.ADMITTED for w in service.workers for _, handing in w.got)


def test_one_that_does_not_take_what_it_has_gets_no_more(service: Service) -> None:
    slow, sound = service.workers
    slow.untaken = dict.fromkeys(range(100, 132))
    slow.connections = {}
    service.port.socket.waiting = 5
    service.port.doRead()
    assert (slow.load, sound.load) == (0, 5)


def test_one_that_is_silent_comes_last(service: Service) -> None:
    service.workers[0].silence = 2
    service.come(5)
    assert service.loads == [0, 5]
    service.workers[1].silence = 2
    service.come(5)
    assert service.loads == [5, 5]


def test_where_nobody_takes_any_they_wait_in_the_kernel(service: Service) -> None:
    workers, service.workers = service.workers, []
    service.port.socket.waiting = 3
    service.port.doRead()
    assert not service.port.reading
    assert service.port.socket.waiting == 3
    service.sharing.resume()
    assert not service.port.reading
    service.workers = workers
    service.sharing.resume()
    assert service.port.reading
    service.port.doRead()
    assert service.port.socket.waiting == 0
    assert sum(service.loads) == 3


def test_a_port_that_was_closed_meanwhile_stays_so(service: Service) -> None:
    workers, service.workers = service.workers, []
    service.port.doRead()
    service.port.disconnecting = True
    service.workers = workers
    service.sharing.resume()
    assert not service.port.reading


def test_one_that_was_accepted_and_finds_no_room_is_held_until_there_is(
    service: Service,
) -> None:
    for worker in service.workers:
        worker.room = 0
    service.port.socket.waiting = 5
    service.port.doRead()
    assert service.port.socket.waiting == 4
    assert not service.port.reading
    service.workers[0].room = 10
    service.sharing.resume()
    assert service.workers[0].load == 1
    assert service.port.reading


def test_what_is_held_is_dropped_when_the_service_stops() -> None:
    service = Service(most=1)
    for worker in service.workers:
        worker.room = 0
    service.port.socket.waiting = 1
    service.port.doRead()
    (held,) = service.sharing._held
    service.sharing.close()
    assert held[1].closed  # type: ignore[attr-defined]
    assert service.limits.arrive().verdict is Verdict.ADMITTED


def test_what_a_worker_did_not_take_goes_to_another(service: Service) -> None:
    first, second = service.workers
    service.come(1)
    owner, other = (first, second) if first.load else (second, first)
    ((place, handing),) = owner.got
    (admission,) = owner.connections.values()
    owner.kept = [(place, Connection(), handing, admission)]
    owner.connections.clear()
    service.workers.remove(owner)
    service.sharing.put_back(owner)  # type: ignore[arg-type]
    assert list(other.connections.values()) == [admission]
    assert other.got[0][1].address == handing.address


def test_no_more_is_accepted_at_once_than_leaves_others_their_turn(service: Service) -> None:
    service.port.socket.waiting = 100
    service.port.doRead()
    assert service.port.socket.waiting == 84
