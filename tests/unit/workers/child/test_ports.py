from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from wsservice.server.admission import Verdict
from wsservice.workers.child.ports import (
    HandedLimits,
    HandedListener,
    HandedReactor,
    PortPlace,
    Roster,
)
from wsservice.workers.wire import passing
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.passing import Handing
from wsservice.workers.wire.reports import ConnectionsChanged

from ....support import Logged


class Bus:
    """A bus that keeps what is said on it."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, message: BusMessage) -> None:
        self.said.append(message)


class Reactor(Clock):
    """A reactor that knows its readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        raise AssertionError

    removeWriter = removeReader


class Handed:
    """A worker's side of one pair, and its parent's."""

    def __init__(self, place: PortPlace | None = None) -> None:
        self.reactor = Reactor()
        self.bus = Bus()
        self.roster = Roster(self.bus, self.reactor)  # type: ignore[arg-type]
        self.parent, end = passing.pair()
        self.place = place or PortPlace(int(socket.AF_INET), ["192.0.2.9", 8080])
        self.listener = HandedListener(end, self.place, self.roster)
        self.end = end
        self.limits = HandedLimits(self.roster, 3)

    def hand(
        self, number: int, verdict: Verdict = Verdict.ADMITTED, address: Any = ("a", 1)
    ) -> None:
        one, two = socket.socketpair()
        with one, two:
            assert passing.hand(self.parent, one.fileno(), Handing(number, verdict, address))

    def told(self) -> list[Any]:
        """Return the messages to the parent since the last call."""
        self.reactor.advance(0)
        said, self.bus.said = self.bus.said, []
        return said

    def close(self) -> None:
        self.parent.close()
        self.end.close()


@pytest.fixture
def handed() -> Iterator[Handed]:
    handed = Handed()
    yield handed
    handed.close()


class TestRosterAndLimits:
    def test_a_connection_has_the_number_and_the_verdict_that_it_was_handed_with(
        self, handed: Handed
    ) -> None:
        for number, verdict in ((7, Verdict.ADMITTED), (8, Verdict.REFUSED), (9, Verdict.DROPPED)):
            handed.hand(number, verdict)
            connection, address = handed.listener.accept()
            connection.close()
            assert address == ("a", 1)
            assert handed.limits.arrive("192.0.2.1", 5).verdict is verdict
            assert next(handed.roster) == str(number)

    def test_the_parent_is_told_once_in_a_turn_who_was_taken_and_who_has_left(
        self, handed: Handed
    ) -> None:
        admissions = []
        for number in (1, 2):
            handed.hand(number)
            handed.listener.accept()[0].close()
            admissions.append(handed.limits.arrive())
        assert handed.told() == [ConnectionsChanged((1, 2), ())]
        for admission in admissions:
            handed.limits.leave(admission)
            handed.limits.leave(admission)
        assert handed.told() == [ConnectionsChanged((), (1, 2))]
        assert handed.told() == []

    def test_one_that_no_protocol_was_made_for_has_left(self, handed: Handed) -> None:
        for number in (1, 2):
            handed.hand(number)
            handed.listener.accept()[0].close()
        assert handed.told() == [ConnectionsChanged((1, 2), (1,))]
        with pytest.raises(BlockingIOError):
            handed.listener.accept()
        assert handed.told() == [ConnectionsChanged((), (2,))]

    def test_one_for_which_there_was_no_descriptor_has_left(self, handed: Handed) -> None:
        handed.parent.sendmsg([b'[7, "ADMITTED", ["a", 1]]'])
        with pytest.raises(OSError, match="open files"):
            handed.listener.accept()
        assert handed.told() == [ConnectionsChanged((7,), (7,))]

    def test_one_that_was_not_handed_over_is_judged_by_itself(self, handed: Handed) -> None:
        admission = handed.limits.arrive()
        assert admission.verdict is Verdict.ADMITTED
        handed.limits.leave(admission)
        assert handed.told() == []

    def test_a_worker_has_to_have_a_descriptor_for_one(self, handed: Handed) -> None:
        handed.limits.reserve(100, 1)
        handed.hand(1)
        handed.listener.accept()[0].close()
        admission = handed.limits.arrive(None, 100)
        assert admission.verdict is Verdict.REFUSED
        handed.limits.leave(admission)
        assert handed.told() == [ConnectionsChanged((1,), (1,))]

    def test_what_the_parent_counts_is_not_counted_here(self, handed: Handed) -> None:
        for most in (0, 1):
            handed.limits.change(most, most)
            for number in range(5):
                handed.hand(number)
                handed.listener.accept()[0].close()
                admission = handed.limits.arrive("192.0.2.1")
                handed.limits.identify(admission, "192.0.2.1")
                assert admission.verdict is Verdict.ADMITTED
                handed.limits.leave(admission)
        assert not handed.limits._known

    def test_an_address_that_comes_later_is_counted_here(self, handed: Handed) -> None:
        limits = HandedLimits(handed.roster, 1)
        admissions = []
        for number in (1, 2):
            handed.hand(number)
            handed.listener.accept()[0].close()
            admissions.append(limits.arrive(None))
            limits.identify(admissions[-1], "192.0.2.1")
        assert [each.verdict for each in admissions] == [Verdict.ADMITTED, Verdict.REFUSED]


class TestListener:
    def test_it_is_where_the_parent_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            handed = Handed(PortPlace.of(server))
            assert handed.listener.getsockname() == server.getsockname()
            handed.close()

    def test_a_unix_socket_has_a_path(self, tmp_path: Any) -> None:
        path = os.path.relpath(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            assert PortPlace.of(server) == PortPlace(int(socket.AF_UNIX), path)

    def test_once_the_parent_is_gone_nobody_is_there(self, handed: Handed) -> None:
        # Its end can be read for ever then: a port that still asked would take all the CPU.
        handed.listener.port = port = Mock(spec=["stopReading"])
        handed.parent.close()
        with pytest.raises(BlockingIOError):
            handed.listener.accept()
        port.stopReading.assert_called_once_with()

    def test_it_can_be_closed(self, handed: Handed) -> None:
        assert handed.listener.fileno() == handed.end.fileno()
        handed.listener.close()
        assert handed.end.fileno() == -1


class Echo(Protocol):
    """Knows who connected."""

    made: list[Echo] = []

    def connectionMade(self) -> None:
        self.made.append(self)


@pytest.fixture
def echoes() -> Iterator[list[Echo]]:
    Echo.made = []
    yield Echo.made
    for each in Echo.made:
        each.transport.connectionLost(Failure(ConnectionDone()))  # type: ignore[union-attr]


def listening(handed: Handed, description: str) -> Any:
    """A port of an endpoint, with the handed end in the place of its socket."""
    reactor = HandedReactor(handed.reactor, [(handed.end, handed.place)], handed.roster)
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    ports: list[Any] = []
    serverFromString(reactor, description).listen(factory).addCallback(ports.append)
    return ports[0]


class TestReactor:
    @pytest.mark.parametrize("description", ["tcp:0", r"tcp6:0:interface=\:\:1", "unix:s.sock"])
    def test_an_endpoint_is_handed_connections(
        self, handed: Handed, echoes: list[Echo], description: str, logged: Logged
    ) -> None:
        port = listening(handed, description)
        assert handed.reactor.readers == [port]
        assert port.getHost() == IPv4Address("TCP", "192.0.2.9", 8080)
        handed.hand(1, address=("192.0.2.1", 5000))
        port.doRead()
        assert [each.transport.getPeer().host for each in echoes] == ["192.0.2.1"]  # type: ignore[union-attr]
        port.stopListening()
        handed.reactor.advance(0)
        assert handed.end.fileno() == -1
        assert "starting on" not in logged.text
        assert "Closed" not in logged.text

    def test_ipv6(self, echoes: list[Echo]) -> None:
        handed = Handed(PortPlace(int(socket.AF_INET6), ["::", 8080, 0, 0]))
        port = listening(handed, "tcp:0")
        assert isinstance(port.getHost(), IPv6Address)
        handed.hand(1, address=("::1", 5000, 0, 0))
        port.doRead()
        assert echoes[0].transport.getPeer().host == "::1"  # type: ignore[union-attr]
        handed.close()

    def test_a_unix_socket_stays_when_its_port_is_closed(
        self, tmp_path: Any, echoes: list[Echo]
    ) -> None:
        path = tmp_path / "s.sock"
        path.touch()
        handed = Handed(PortPlace(int(socket.AF_UNIX), str(path)))
        port = listening(handed, "unix:other.sock")
        assert port.getHost() == UNIXAddress(str(path).encode())
        handed.hand(1, address="")
        port.doRead()
        assert len(echoes) == 1
        port.stopListening()
        handed.reactor.advance(0)
        assert path.exists()
        handed.close()

    def test_tls_is_spoken_here(self, handed: Handed) -> None:
        reactor = HandedReactor(handed.reactor, [(handed.end, handed.place)], handed.roster)
        port: Any = reactor.listenSSL(0, Factory.forProtocol(Echo), CertificateOptions())
        assert isinstance(port.factory, TLSMemoryBIOFactory)

    def test_a_socket_that_was_adopted_is_too(self, handed: Handed) -> None:
        reactor = HandedReactor(handed.reactor, [(handed.end, handed.place)], handed.roster)
        assert reactor.adoptStreamPort(99, socket.AF_INET, Factory()).socket.fileno() == (
            handed.end.fileno()
        )

    def test_all_else_is_the_reactors_own(self, handed: Handed) -> None:
        reactor = HandedReactor(handed.reactor, [], handed.roster)
        handed.reactor.advance(3)
        assert reactor.seconds() == 3
