from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from wsservice.channels.history import Missed
from wsservice.channels.query import Position
from wsservice.workers.wire import bus as bus_module
from wsservice.workers.wire import framing
from wsservice.workers.wire.bus import Bus
from wsservice.workers.wire.coding import Reply
from wsservice.workers.wire.framing import Frames, MessageError, TooLongError, framed
from wsservice.workers.wire.messages import MissedPage, Publication
from wsservice.workers.wire.orders import PingWorker, ReopenLog

from ....support import Logged, one_turn


class Writer:
    """Writes to a transport, where a bus writes to a socket at once."""

    def __init__(self, transport: Any) -> None:
        self.write = transport.write


class End:
    """A bus on a transport in memory."""

    def __init__(self, bound: int = 100) -> None:
        self.clock = Clock()
        self.heard: list[bytes] = []
        self.lost = 0
        self.bus = Bus(self.clock, self._hear, self._lose, bound)
        self.transport = StringTransport()

    def _hear(self, body: bytes) -> None:
        self.heard.append(body)

    def _lose(self) -> None:
        self.lost += 1

    def connect(self) -> End:
        self.bus.makeConnection(self.transport)
        return self

    @property
    def bodies(self) -> list[bytes]:
        return Frames().feed(self.transport.value())


@pytest.fixture(autouse=True)
def writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "SocketWriter", Writer)


def test_what_is_said_in_a_turn_leaves_at_its_end_in_order() -> None:
    end = End().connect()
    end.bus.say(PingWorker())
    assert end.bus.publish(Publication("a", b"1").body())
    assert end.transport.value() == b""
    end.clock.advance(0)
    assert end.bodies == [PingWorker().body(), Publication("a", b"1").body()]
    assert end.bus.waiting == 0
    assert end.clock.getDelayedCalls() == []


def test_what_is_said_before_it_is_connected_waits() -> None:
    end = End()
    end.bus.say(ReopenLog())
    end.clock.advance(0)
    end.connect()
    assert end.bodies == [ReopenLog().body()]


def test_what_comes_is_heard() -> None:
    end = End().connect()
    octets = framed(b"one") + framed(b"two")
    end.bus.dataReceived(octets[:5])
    end.bus.dataReceived(octets[5:])
    assert end.heard == [b"one", b"two"]


class Slow(End):
    """An end that takes a millisecond for each body."""

    def _hear(self, body: bytes) -> None:
        super()._hear(body)
        self.clock.rightNow += 0.001


def test_much_that_comes_is_heard_in_slices_and_in_order() -> None:
    end = Slow().connect()
    bodies = [b"%d" % number for number in range(10)]
    end.bus.dataReceived(b"".join(map(framed, bodies[:9])))
    assert end.heard == bodies[:4]
    assert end.transport.producerState == "paused"
    # It was read already when the bus said that it reads no more.
    end.bus.dataReceived(framed(bodies[9]))
    assert end.heard == bodies[:4]
    one_turn(end.clock)
    assert end.heard == bodies[:8]
    one_turn(end.clock)
    assert end.heard == bodies
    assert end.transport.producerState == "producing"
    assert end.clock.getDelayedCalls() == []


def test_what_came_before_the_end_is_heard_before_it_is_told() -> None:
    end = Slow().connect()
    bodies = [b"%d" % number for number in range(10)]
    end.bus.dataReceived(b"".join(map(framed, bodies)))
    told: list[int] = []
    end.bus._lost = lambda: told.append(len(end.heard))
    end.bus.connectionLost()
    assert end.heard == bodies
    assert told == [10]
    assert end.clock.getDelayedCalls() == []


def test_nothing_is_heard_behind_what_is_no_message(logged: Logged) -> None:
    end = Slow().connect()

    def hear(body: bytes) -> None:
        end._hear(body)
        if body == b"5":
            raise MessageError("oops")

    end.bus._heard = hear
    end.bus.dataReceived(b"".join(framed(b"%d" % number) for number in range(10)))
    end.clock.advance(0)
    assert end.heard[-1] == b"5"
    assert "malformed message on the bus: oops" in logged.text
    end.clock.advance(1)
    assert len(end.heard) == 6
    assert end.transport.disconnecting or end.transport.disconnected


def test_what_is_hastened_does_not_wait_for_publications() -> None:
    end = End(bound=1000).connect()
    end.bus.pauseProducing()
    body = Publication("a", b"x").body()
    for _ in range(3):
        end.bus.publish(body)
    end.bus.hasten(PingWorker())
    end.bus.resumeProducing()
    assert end.bodies == [PingWorker().body(), body, body, body]
    assert end.bus.waiting == 0


def test_while_the_other_end_does_not_read_only_so_much_waits(logged: Logged) -> None:
    end = End(bound=200).connect()
    end.bus.other = "worker 2 (pid 7)"
    end.bus.pauseProducing()
    body = Publication("a", b"x" * 30).body()
    assert [end.bus.publish(body) for _ in range(4)] == [True, True, False, False]
    end.bus.say(PingWorker())  # of these there are few
    end.clock.advance(0)
    assert end.transport.value() == b""
    assert end.bus.dropped == 2
    assert logged.text.count("worker 2 (pid 7): reads too slowly") == 1
    end.bus.resumeProducing()
    assert end.bodies == [body, body, PingWorker().body()]
    assert end.bus.publish(body)
    assert "worker 2 (pid 7): reads publications again; 2 messages were dropped" in logged.text


def test_what_it_takes_to_keep_them_counts() -> None:
    end = End(bound=10_000).connect()
    end.bus.pauseProducing()
    tiny = Publication("a", b"").body()
    count = sum(end.bus.publish(tiny) for _ in range(1000))
    assert end.bus.waiting == count * len(framed(tiny))
    assert 0.5 < count * sys.getsizeof(framed(tiny)) / 10_000 <= 1
    end.bus.resumeProducing()
    assert end.bus.waiting == 0
    assert end.bus._size == 0


def test_one_larger_than_the_bound_passes_where_nothing_waits() -> None:
    end = End(bound=10).connect()
    large = Publication("a", b"x" * 1000).body()
    assert end.bus.publish(large)
    # What fits after it, once that was written, does so at once.
    assert end.bus.publish(large)
    end.clock.advance(0)
    assert end.bodies == [large, large]


def test_one_that_no_bus_carries_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "LONGEST", 20)
    end = End().connect()
    assert not end.bus.publish(b"p" * 21)
    assert end.bus.publish(b"p" * 20)
    assert end.bus.dropped == 1


def test_much_is_written_piece_by_piece_as_long_as_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = End(bound=10**7).connect()
    written: list[int] = []

    def write(data: bytes) -> None:
        written.append(len(data))
        end.bus.pauseProducing()

    monkeypatch.setattr(end.bus._writer, "write", write)
    for _ in range(10):
        end.bus.publish(b"p" * 100_000)
    end.clock.advance(0)
    assert written == [300_012]
    assert end.bus.waiting == 700_028


def test_what_is_no_message_ends_it(logged: Logged) -> None:
    end = End().connect()
    end.bus.dataReceived(b"\xff\xff\xff\xff")
    assert end.transport.disconnecting or end.transport.disconnected
    assert "malformed message on the bus" in logged.text


@pytest.mark.parametrize("error", [ValueError("own"), KeyError("own"), TooLongError("own")])
def test_a_fault_of_this_end_is_logged_and_ends_nothing(error: Exception, logged: Logged) -> None:
    end = End().connect()
    end.bus.other = "worker 2 (pid 7)"

    def hear(body: bytes) -> None:
        if body == b"one":
            raise error
        end.heard.append(body)

    end.bus._heard = hear
    end.bus.dataReceived(framed(b"one") + framed(b"two"))
    assert end.heard == [b"two"]
    assert not end.transport.disconnecting
    assert not end.transport.disconnected
    (failure,) = logged.failures
    assert "a message from worker 2 (pid 7) cannot be handled" in failure


def test_so_is_one_of_what_leaves_together(logged: Logged) -> None:
    end = End().connect()

    @contextlib.contextmanager
    def together() -> Iterator[None]:
        yield
        raise OSError("a write failed")

    end.bus.together = together
    end.bus.dataReceived(framed(b"one"))
    assert end.heard == [b"one"]
    assert not end.transport.disconnected
    assert "a write failed" in logged.failures[0]


def test_what_is_too_long_to_be_said_is_for_the_caller_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(framing, "LONGEST", 20)
    end = End().connect()
    with pytest.raises(TooLongError):
        end.bus.say(Reply(1, "x" * 20))
    with pytest.raises(TooLongError):
        end.bus.say(MissedPage(1, "x" * 20, Missed((), Position(1, "e"))))
    end.clock.advance(0)
    assert end.transport.value() == b""
    assert not end.transport.disconnected


def test_once_it_is_over_nothing_waits() -> None:
    end = End().connect()
    end.bus.say(PingWorker())
    end.bus.connectionLost()
    end.bus.say(PingWorker())
    end.clock.advance(0)
    assert end.lost == 1
    assert end.bus.waiting == 0
    assert end.transport.value() == b""
    end.bus.stopProducing()
