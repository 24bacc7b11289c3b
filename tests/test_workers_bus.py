from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from wsservice.workers import bus as bus_module
from wsservice.workers.bus import Bus
from wsservice.workers.messages import Frames, Publication, framed, said

from .support import Logged


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
    end.bus.say("ping")
    assert end.bus.publish(Publication("a", b"1").body())
    assert end.transport.value() == b""
    end.clock.advance(0)
    assert end.bodies == [said("ping"), Publication("a", b"1").body()]
    assert end.bus.waiting == 0
    assert end.clock.getDelayedCalls() == []


def test_what_is_said_before_it_is_connected_waits() -> None:
    end = End()
    end.bus.say("start")
    end.clock.advance(0)
    end.connect()
    assert end.bodies == [said("start")]


def test_what_comes_is_heard() -> None:
    end = End().connect()
    octets = framed(b"one") + framed(b"two")
    end.bus.dataReceived(octets[:5])
    end.bus.dataReceived(octets[5:])
    assert end.heard == [b"one", b"two"]


def test_while_the_other_end_does_not_read_only_so_much_waits(logged: Logged) -> None:
    end = End(bound=100).connect()
    end.bus.other = "worker 2 (pid 7)"
    end.bus.pauseProducing()
    body = Publication("a", b"x" * 30).body()
    assert [end.bus.publish(body) for _ in range(4)] == [True, True, False, False]
    end.bus.say("ping")  # of these there are few
    end.clock.advance(0)
    assert end.transport.value() == b""
    assert end.bus.dropped == 2
    assert logged.text.count("worker 2 (pid 7): takes less than is published") == 1
    end.bus.resumeProducing()
    assert end.bodies == [body, body, said("ping")]
    assert end.bus.publish(body)
    assert "worker 2 (pid 7): takes again what is published; 2 messages were dropped" in logged.text


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
    assert "what came on the bus is no message" in logged.text


def test_once_it_is_over_nothing_waits() -> None:
    end = End().connect()
    end.bus.say("ping")
    end.bus.connectionLost()
    end.bus.say("ping")
    end.clock.advance(0)
    assert end.lost == 1
    assert end.bus.waiting == 0
    assert end.transport.value() == b""
    end.bus.stopProducing()
