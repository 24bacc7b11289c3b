from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from wsservice.net import polling
from wsservice.net.gathering import Gathering
from wsservice.net.polling import Poller, poll_together
from wsservice.net.turns import Turns
from wsservice.private.of_twisted import PollsTogether
from wsservice.protocol.sending import Bound, Kind, SendQueue

from ...support import Logged, one_turn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")

IN, OUT, HUP, ERR = (getattr(select, f"EPOLL{name}", 0) for name in ("IN", "OUT", "HUP", "ERR"))


class Epoll:
    """An epoll of which the test says what it has seen."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}
        self.events: list[tuple[int, int]] = []

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        assert timeout == 0
        events, self.events = self.events[:most], self.events[most:]
        return events

    def register(self, fd: int, flags: int) -> None:
        assert fd not in self.watched
        self.watched[fd] = flags

    def modify(self, fd: int, flags: int) -> None:
        assert fd in self.watched
        self.watched[fd] = flags

    def unregister(self, fd: int) -> None:
        del self.watched[fd]

    def fileno(self) -> int:
        return 3


class Reactor(Clock):
    """A reactor that has readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove


class Transport:
    """A transport, as far as a poller uses it."""

    def __init__(self, fd: int = 7, read: Callable[[], object] = lambda: None) -> None:
        self.fd = fd
        self.read = read
        self.did: list[str] = []
        self.end: Callable[[], object] = lambda: None
        self.reactor: Any = None

    def fileno(self) -> int:
        return self.fd

    def doRead(self) -> object:
        self.did.append("read")
        return self.read()

    def doWrite(self) -> None:
        self.did.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.did.append(type(reason.value).__name__)
        self.end()


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(select, "epoll", Epoll)
    # The descriptors of these tests are others' in this process.
    monkeypatch.setattr(polling, "readable", lambda fd: 0)
    reactor = Reactor()
    return Poller(reactor, Turns(reactor, Gathering()))


@pytest.fixture
def logged() -> Iterator[Logged]:
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    yield logged
    globalLogPublisher.removeObserver(logged)


def fail() -> None:
    raise ValueError("oops")


def turn(poller: Any, *events: tuple[int, int]) -> None:
    poller._epoll.events = [*events]
    poller.doRead()


class TestWatching:
    def test_a_socket_is_watched_for_what_its_transport_wants(self, poller: Any) -> None:
        transport = Transport(7)
        seen = []
        for ask in (
            poller.addReader,
            poller.addReader,
            poller.addWriter,
            poller.removeReader,
            poller.addReader,
            poller.removeWriter,
            poller.removeWriter,
            poller.removeReader,
        ):
            ask(transport)
            seen.append(poller._epoll.watched.get(7))
        assert seen == [IN, IN, IN | OUT, OUT, IN | OUT, IN, IN, None]

    def test_the_reactor_knows_of_it_while_there_are_sockets(self, poller: Any) -> None:
        readers = poller._reactor.readers
        first, second = Transport(7), Transport(8)
        counts = []
        for ask, transport in (
            (poller.addReader, first),
            (poller.addWriter, second),
            (poller.removeReader, first),
            (poller.removeWriter, second),
        ):
            ask(transport)
            counts.append(len(readers))
        assert counts == [1, 1, 1, 0]

    def test_one_that_is_closed_already_is_none(self, poller: Any) -> None:
        poller.removeReader(Transport(-1))
        poller.removeWriter(Transport(-1))

    def test_all_else_of_a_reactor_is_the_reactors(self, poller: Any) -> None:
        poller.callLater(5, fail)
        (call,) = poller._reactor.getDelayedCalls()
        assert call.getTime() == 5

    def test_to_the_reactor_it_is_a_descriptor_with_a_name(self, poller: Any) -> None:
        assert poller.fileno() == 3
        assert poller.logPrefix() == "wsservice"


class TestATurn:
    @pytest.mark.parametrize(
        ("event", "did"),
        [
            (IN, ["read"]),
            (OUT, ["write"]),
            (IN | OUT, ["read", "write"]),
            (IN | HUP, ["read"]),
            (HUP, ["ConnectionDone"]),
            (ERR, ["ConnectionDone"]),
        ],
    )
    def test_events_are_worked_off_as_twisted_does(
        self, poller: Any, event: int, did: list[str]
    ) -> None:
        transport = Transport()
        poller.addReader(transport)
        turn(poller, (7, event))
        assert transport.did == did

    def test_one_that_only_writes_may_be_lost_too(self, poller: Any) -> None:
        transport = Transport()
        poller.addWriter(transport)
        turn(poller, (7, HUP))
        assert transport.did == ["ConnectionLost"]

    def test_one_that_read_its_end_is_lost(self, poller: Any) -> None:
        transport = Transport(read=lambda: CONNECTION_DONE)
        poller.addReader(transport)
        turn(poller, (7, IN))
        assert transport.did == ["read", "ConnectionDone"]
        assert not poller._epoll.watched

    def test_one_that_another_closed_meanwhile_is_passed_over(self, poller: Any) -> None:
        second = Transport(8)
        first = Transport(7, lambda: poller.removeReader(second))
        poller.addReader(first)
        poller.addReader(second)
        turn(poller, (7, IN), (8, IN), (9, OUT))
        assert (first.did, second.did) == (["read"], [])

    def test_no_more_than_some_have_their_turn_before_the_reactors_others(
        self, poller: Any
    ) -> None:
        transports = [Transport(fd) for fd in range(100)]
        for each in transports:
            poller.addReader(each)
        turn(poller, *((each.fd, IN) for each in transports))
        assert [len(each.did) for each in transports] == 64 * [1] + 36 * [0]
        poller.doRead()
        assert [len(each.did) for each in transports] == 100 * [1]

    @pytest.mark.parametrize("event", [IN, IN | HUP])
    def test_one_that_raises_is_dropped_and_logged_and_so_is_what_its_end_raises(
        self, poller: Any, logged: Logged, event: int
    ) -> None:
        bad, good = Transport(7, fail), Transport(8)
        bad.end = fail
        poller.addReader(bad)
        poller.addReader(good)
        turn(poller, (7, event), (8, IN))
        assert bad.did == ["read", "ValueError"]
        assert good.did == ["read"]
        assert list(poller._epoll.watched) == [8]
        failures = [each.get("failure") or each["log_failure"] for each in logged.events]
        assert [str(each.value) for each in failures] == ["oops", "oops"]


class TestEnding:
    """Connections that end behind an event, and not when the reactor says that they can write."""

    @staticmethod
    def closing(poller: Any, fd: int = 7) -> Transport:
        """A transport that ends in its own event."""
        closing = Transport(fd, lambda: closing.did.append(f"end: {poller.end(closing)}"))
        closing.reactor = poller
        closing.end = lambda: poller.removeReader(closing)
        poller.addReader(closing)
        return closing

    @pytest.mark.parametrize("event", [IN, IN | HUP])
    def test_it_ends_once_its_event_is_worked_off(self, poller: Any, event: int) -> None:
        closing = self.closing(poller)
        turn(poller, (7, event))
        assert closing.did == ["read", "end: True", "ConnectionDone"]
        assert not poller._epoll.watched

    def test_it_ends_before_the_next_ones_event(self, poller: Any) -> None:
        closing = self.closing(poller)
        seen: list[list[str]] = []
        poller.addReader(Transport(8, lambda: seen.append([*closing.did])))
        turn(poller, (7, IN), (8, IN))
        assert seen == [["read", "end: True", "ConnectionDone"]]

    def test_it_does_so_where_many_wait_for_their_turn(self, poller: Any) -> None:
        closing = self.closing(poller)
        poller.serve(7, IN)
        assert closing.did == ["read", "end: True", "ConnectionDone"]

    def test_one_that_another_ends_needs_no_event_of_its_own(self, poller: Any) -> None:
        other = self.closing(poller, 8)
        poller.addReader(Transport(7, lambda: poller.end(other) and None))
        turn(poller, (7, IN))
        assert other.did == ["ConnectionDone"]

    def test_what_a_write_at_the_turns_end_closes_ends_too(self, poller: Any) -> None:
        closing = self.closing(poller)
        closing.read = lambda: None

        def write(octets: bytes) -> None:
            poller.end(closing)

        queue = SendQueue(write, Bound(0), poller._gathering)
        poller.addReader(Transport(8, lambda: queue.put(b"octets", Kind.OTHER) and None))
        turn(poller, (8, IN))
        assert closing.did == ["ConnectionDone"]

    def test_what_its_end_raises_is_logged(self, poller: Any, logged: Logged) -> None:
        self.closing(poller).end = fail
        good = self.closing(poller, 8)
        turn(poller, (7, IN), (8, IN))
        assert good.did[-1] == "ConnectionDone"
        assert "cannot end a connection" in logged.text

    def test_without_an_event_it_ends_as_twisted_has_it(self, poller: Any) -> None:
        closing = self.closing(poller)
        turn(poller)
        assert not poller.end(closing)
        assert closing.did == []

    def test_so_does_one_that_is_not_polled_here(self, poller: Any) -> None:
        closing = self.closing(poller)
        closing.reactor = poller._reactor
        turn(poller, (7, IN))
        assert closing.did == ["read", "end: False"]


class TestTurns:
    """The events that a poller leaves to `turns` when there is too much for one turn."""

    @staticmethod
    def slow(poller: Any, fd: int, seconds: float = 0.003) -> Transport:
        transport = Transport(fd, lambda: poller._reactor.advance(seconds))
        poller.addReader(transport)
        return transport

    @staticmethod
    def did(*transports: Transport) -> list[int]:
        return [len(each.did) for each in transports]

    def test_what_a_turn_has_no_time_for_has_the_next_one(self, poller: Any) -> None:
        transports = [self.slow(poller, fd) for fd in range(7, 12)]
        turn(poller, *((each.fd, IN) for each in transports))
        assert self.did(*transports) == [1, 1, 0, 0, 0]
        one_turn(poller._reactor)
        assert self.did(*transports) == [1, 1, 1, 1, 0]
        one_turn(poller._reactor)
        assert self.did(*transports) == [1, 1, 1, 1, 1]
        assert not poller._reactor.getDelayedCalls()

    def test_the_light_go_before_what_is_left(self, poller: Any) -> None:
        heavy = [self.slow(poller, fd) for fd in range(7, 12)]
        light = self.slow(poller, 20, 0.00001)
        turn(poller, *((each.fd, IN) for each in heavy))
        for number in range(1, 10):
            poller._epoll.events = [(each.fd, IN) for each in (*heavy, light)]
            one_turn(poller._reactor)
            assert max(self.did(*heavy)) - min(self.did(*heavy)) <= 1
            # At first the others are as unknown as it is, for two rounds.
            assert self.did(light) == [max(0, number - 2)]

    def test_one_that_has_little_to_read_goes_before_what_is_left(
        self, poller: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        octets = dict.fromkeys(range(7, 12), 60_000) | {20: 12}
        monkeypatch.setattr(polling, "readable", octets.__getitem__)
        heavy = [self.slow(poller, fd) for fd in range(7, 12)]
        light = self.slow(poller, 20, 0.00001)
        turn(poller, *((each.fd, IN) for each in heavy))
        poller._epoll.events = [(light.fd, IN)]
        one_turn(poller._reactor)
        assert self.did(*heavy, light) == [1, 1, 1, 1, 0, 1]

    def test_one_that_was_reset_while_others_wait_is_not_read(self, poller: Any) -> None:
        transports = [self.slow(poller, fd) for fd in range(7, 10)]
        reset, ended = self.slow(poller, 20), self.slow(poller, 21)
        events = [(reset.fd, IN | HUP | ERR), (ended.fd, IN | HUP)]
        turn(poller, *((each.fd, IN) for each in transports))
        for _ in range(3):
            poller._epoll.events = events
            events = []
            one_turn(poller._reactor)
        assert reset.did == ["ConnectionLost"]
        assert ended.did[0] == "read"

    def test_of_those_that_can_be_served_the_light_are_first_too(self, poller: Any) -> None:
        order: list[int] = []
        for fd, seconds in ((7, 0.003), (8, 0.00001)):

            def read(fd: int = fd, seconds: float = seconds) -> None:
                order.append(fd)
                poller._reactor.advance(seconds)

            poller.addReader(Transport(fd, read))
        turn(poller, (7, IN), (8, IN))
        turn(poller, (7, IN), (8, IN))
        assert order == [7, 8, 8, 7]

    def test_one_that_is_closed_or_paused_has_its_turn_no_more(self, poller: Any) -> None:
        transports = [self.slow(poller, fd) for fd in range(7, 12)]
        poller.addWriter(transports[3])
        transports[1].end = lambda: None
        gone = self.slow(poller, 12)

        def close() -> None:
            poller._reactor.advance(0.003)
            poller.removeReader(gone)

        transports[1].read = close
        turn(poller, *((fd, IN) for fd in range(7, 13)))
        assert self.did(*transports, gone) == [1, 1, 0, 0, 0, 0]
        poller.removeReader(transports[2])
        poller.removeReader(transports[3])
        replaced = self.slow(poller, 12)
        one_turn(poller._reactor)
        assert self.did(*transports, gone, replaced) == [1, 1, 0, 0, 1, 0, 0]

    def test_while_some_wait_the_reactors_event_does_nothing(self, poller: Any) -> None:
        transports = [self.slow(poller, fd) for fd in range(7, 12)]
        turn(poller, *((each.fd, IN) for each in transports))
        turn(poller, (7, IN))
        assert self.did(*transports) == [1, 1, 0, 0, 0]

    def test_a_call_that_the_reactor_forgot_is_not_waited_for(
        self, poller: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transports = [self.slow(poller, fd) for fd in range(7, 12)]
        turn(poller, *((each.fd, IN) for each in transports))
        (call,) = poller._reactor.getDelayedCalls()
        call.delay(3600)
        poller._reactor.advance(0.2)
        turn(poller, (7, IN))
        assert self.did(*transports) == [1, 1, 1, 1, 0]


class TestWhatIsSent:
    @pytest.fixture
    def written(self) -> list[bytes]:
        return []

    @pytest.fixture
    def queue(self, poller: Any, written: list[bytes]) -> SendQueue:
        return SendQueue(written.append, Bound(0), poller._gathering)

    def test_it_leaves_at_the_end_of_the_turn_together(
        self, poller: Any, queue: SendQueue, written: list[bytes]
    ) -> None:
        for fd in (7, 8):
            poller.addReader(Transport(fd, lambda: queue.put(b"a", Kind.MESSAGE) and None))
        poller.addReader(Transport(9, lambda: written.append(b"(")))
        turn(poller, (7, IN), (8, IN), (9, IN))
        assert written == [b"(", b"aa"]
        queue.put(b"b", Kind.MESSAGE)
        assert written == [b"(", b"aa", b"b"]

    def test_where_the_turn_takes_long_it_leaves_in_the_middle(
        self, poller: Any, queue: SendQueue, written: list[bytes]
    ) -> None:
        def say() -> None:
            queue.put(b"a", Kind.MESSAGE)
            poller._reactor.advance(0.001)

        for fd in range(7):
            poller.addReader(Transport(fd, say))
        turn(poller, *((fd, IN) for fd in range(7)))
        assert written == [b"aa", b"aa"]
        one_turn(poller._reactor)
        assert written == [b"aa", b"aa", b"aa", b"a"]

    def test_what_a_write_raises_ends_no_turn(
        self, poller: Any, written: list[bytes], logged: Logged
    ) -> None:
        bad = SendQueue(lambda _: fail(), Bound(0), poller._gathering)
        good = SendQueue(written.append, Bound(0), poller._gathering)

        def say() -> None:
            bad.put(b"a", Kind.MESSAGE)
            good.put(b"b", Kind.MESSAGE)

        poller.addReader(Transport(7, say))
        turn(poller, (7, IN))
        assert written == [b"b"]
        assert [str(each["log_failure"].value) for each in logged.events] == ["oops"]
        assert not poller._gathering.under_way


def test_when_the_reactor_stops_every_connection_is_lost(poller: Any, logged: Logged) -> None:
    transports = [Transport(7), Transport(8), Transport(9)]
    poller.addReader(transports[0])
    poller.addWriter(transports[1])
    poller.addReader(transports[2])
    poller.addWriter(transports[2])
    transports[0].end = fail
    poller.connectionLost(Failure(ConnectionLost()))
    assert [each.did for each in transports] == 3 * [["ConnectionLost"]]
    assert not poller._epoll.watched
    assert [str(each["log_failure"].value) for each in logged.events] == ["oops"]


class Made:
    """The transport that a port makes of a socket."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def fileno(self) -> int:
        return 7


class TestPorts:
    @pytest.fixture
    def port(self) -> Any:
        port: Any = TCPPort(0, Factory(), reactor=MemoryReactorClock())
        port.transport = lambda *args: Made(*args)
        return port

    @pytest.fixture
    def turns(self) -> Turns:
        return Turns(Clock(), Gathering())

    def test_connections_of_all_are_given_one_poller_for_their_reactor(
        self, port: Any, turns: Turns
    ) -> None:
        other: Any = TCPPort(0, Factory(), reactor=port.reactor)
        other.transport = Made
        poll_together([port, other], turns)
        *most, reactor = port.transport(1, 2, 3, port.reactor).args
        assert most == [1, 2, 3]
        assert isinstance(reactor, Poller)
        assert other.transport(port.reactor).args == (reactor,)

    def test_a_connection_begins_without_what_its_descriptors_last_one_used(
        self, port: Any, turns: Turns
    ) -> None:
        poll_together([port], turns)
        turns.note(7, 1.0)
        turns.note(8, 1.0)
        port.transport(port.reactor)
        assert list(turns.marks) == [8]

    def test_where_there_is_no_epoll_they_stay_with_the_reactor(
        self, port: Any, turns: Turns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(select, "epoll")
        poll_together([port], turns)
        assert port.transport(1, port.reactor).args == (1, port.reactor)

    def test_with_another_twisted_they_stay_with_it(
        self, port: Any, turns: Turns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(PollsTogether, "read_or_write", None)
        poll_together([port], turns)
        assert port.transport(1, port.reactor).args == (1, port.reactor)

    def test_where_the_reactor_has_no_descriptors_they_stay_with_it(
        self, port: Any, turns: Turns
    ) -> None:
        port.reactor = Clock()
        poll_together([port], turns)
        assert port.transport(1, port.reactor).args == (1, port.reactor)

    def test_what_is_no_port_of_twisteds_is_left_alone(self, turns: Turns) -> None:
        poll_together([object()], turns)
