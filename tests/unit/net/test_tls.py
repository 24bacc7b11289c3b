from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from wsservice.net.gathering import Gathering
from wsservice.net.tls import TLSTransport, quicken
from wsservice.net.transports import abort_connection
from wsservice.private import of_pyopenssl, of_twisted
from wsservice.server.behaviours import ServerProtocol

from ...integration.test_listening_places import make_certificate
from ...support import Logged, Transport


class Port:
    def __init__(self, factory: object) -> None:
        self.factory = factory


class Application(Protocol):
    """Keeps what it is told, and answers as a test wants."""

    transport: Any
    answer: Callable[[bytes], object] = staticmethod(lambda data: None)

    def connectionMade(self) -> None:
        self.heard = b""
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.answer(data)

    def connectionLost(self, reason: object = None) -> None:
        self.ended = True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


class Server:
    """A TLS server in memory, and its clients."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        self.clock = Clock()
        self.certificate = certificate[1]
        key, cert = map(str, certificate)
        context = DefaultOpenSSLContextFactory(key, cert)
        inner = Factory.forProtocol(Application)
        self.factory = TLSMemoryBIOFactory(context, False, inner, self.clock)
        self.gathering = Gathering()
        quicken(Port(self.factory), self.gathering)

    def connect(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Peer:
        return Peer(self, version)


class Peer:
    """A client, by Python's own TLS."""

    def __init__(self, server: Server, version: ssl.TLSVersion) -> None:
        context = ssl.create_default_context(cafile=str(server.certificate))
        context.maximum_version = version
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self.transport = Transport()
        self.tls: Any = server.factory.buildProtocol(None)
        self.tls.makeConnection(self.transport)
        self.application: Any = self.tls.wrappedProtocol
        while True:
            try:
                self.client.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.deliver()
                self.take()
        self.deliver()
        self.take()
        assert self.received() == b""

    def deliver(self) -> None:
        """Hand the server, in one read, all that was said."""
        if data := self._out.read():
            self.tls.dataReceived(data)

    def take(self) -> list[bytes]:
        """The records that the server sent."""
        data = self.transport.value()
        self.transport.clear()
        self._in.write(data)
        records = []
        while data:
            size = 5 + int.from_bytes(data[3:5], "big")
            records.append(data[:size])
            data = data[size:]
        return records

    def received(self) -> bytes:
        """Return the octets from the server."""
        said = b""
        try:
            while data := self.client.read(65536):
                said += data
        except ssl.SSLWantReadError:
            pass
        return said

    def say(self, data: bytes) -> None:
        self.client.write(data)


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Server:
    return Server(certificate)


@pytest.fixture
def peer(server: Server) -> Peer:
    return server.connect()


def test_what_the_tests_run_with_is_the_shorter_way(peer: Peer) -> None:
    # Else pyOpenSSL's inner names are others now, and TLS half as fast.
    assert peer.tls._records is not None


@pytest.mark.parametrize("factory", [None, Factory(), WrappingFactory(Factory())])
def test_what_is_no_tls_is_left_alone(factory: Any) -> None:
    before = dict(vars(factory)) if factory else {}
    quicken(Port(factory), Gathering())
    assert not factory or vars(factory) == before


def test_another_tls_is_left_alone(server: Server) -> None:
    server.factory.protocol = TLSMemoryBIOProtocol
    quicken(Port(server.factory), Gathering())
    assert server.factory.protocol is TLSMemoryBIOProtocol


def test_with_another_twisted_tls_is_its_own_and_one_line_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    server.factory.protocol = BufferingTLSTransport
    monkeypatch.setattr(of_twisted, "SHARED_WITH_TLS", {"_aborted": "", "_renamed()": ""})
    quicken(Port(server.factory), Gathering())
    assert server.factory.protocol is BufferingTLSTransport
    assert logged.text == (
        "[wsservice#warn] TLS is slower: this version of Twisted has no _renamed()"
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_answers_of_one_read_are_one_record(server: Server, version: ssl.TLSVersion) -> None:
    peer = server.connect(version)

    def answer(data: bytes) -> None:
        for each in (b"one ", b"", b"two ", data):
            peer.application.transport.write(each)

    peer.application.answer = answer
    peer.say(b"three")
    peer.deliver()
    assert len(peer.take()) == 1
    assert peer.received() == b"one two three"
    assert server.clock.getDelayedCalls() == []


def test_the_records_of_one_read_share_one_slice(server: Server, peer: Peer) -> None:
    did: list[bytes | str] = []

    def answer(data: bytes) -> None:
        did.append(data)
        server.clock.rightNow += 0.0015

    peer.application.answer = answer
    peer.application.end_slice = lambda: did.append("slice")
    for _ in range(2):
        for each in (b"1", b"2", b"3", b"4"):
            peer.say(each)
        peer.deliver()
        assert did == [b"1", b"2", b"3", "slice", b"4", "slice"]
        did.clear()


def test_nothing_is_sent_of_nothing(server: Server, peer: Peer) -> None:
    peer.application.transport.write(b"")
    server.clock.advance(0)
    assert peer.take() == []
    assert not peer.transport.disconnecting


def test_many_records_and_parts_of_records_are_read(peer: Peer) -> None:
    for number in range(100):
        peer.say(b"%d " % number)
    data = peer._out.read()
    for start in range(0, len(data), 1000):
        peer.tls.dataReceived(data[start : start + 1000])
    assert peer.application.heard == b"".join(b"%d " % number for number in range(100))


def test_what_is_written_at_other_times_leaves_at_the_next_turn_with_one_timer(
    server: Server,
) -> None:
    peers = [server.connect() for _ in range(3)]
    for peer in peers:
        for each in (b"one ", b"two"):
            peer.application.transport.write(each)
        assert peer.take() == []
    assert len(server.clock.getDelayedCalls()) == 1
    server.clock.advance(0)
    for peer in peers:
        assert len(peer.take()) == 1
        assert peer.received() == b"one two"
    assert server.clock.getDelayedCalls() == []


def test_one_whose_producer_raises_keeps_no_other_waiting(server: Server) -> None:
    class Producer:
        def pauseProducing(self) -> None:
            raise ValueError("oops")

    class Full(Transport):
        def write(self, data: bytes) -> None:
            assert self.producer is not None
            self.producer.pauseProducing()

    first, second = server.connect(), server.connect()
    first.tls.transport = Full()
    first.tls.registerProducer(Producer(), True)
    for peer in (first, second):
        peer.application.transport.write(b"hello")
    server.clock.advance(0)
    second.take()
    assert second.received() == b"hello"


def test_much_leaves_at_once_in_records_that_are_no_larger_than_they_may(peer: Peer) -> None:
    much = bytes(range(256)) * 1000
    peer.application.transport.write(much)
    records = peer.take()
    assert len(records) == 16
    assert max(map(len, records)) < 16 * 1024 + 256
    assert peer.received() == much


def test_what_is_no_bytes_is_refused_at_once(peer: Peer) -> None:
    with pytest.raises(TypeError):
        peer.application.transport.write("text")


def test_what_was_written_leaves_before_the_end(peer: Peer) -> None:
    peer.application.transport.write(b"last words")
    peer.application.transport.loseConnection()
    peer.application.transport.write(b"too late")
    peer.take()
    assert peer.received() == b"last words"
    assert peer.client.read(1) == b""
    assert not peer.transport.disconnecting
    peer.client.unwrap()
    peer.deliver()
    assert peer.transport.disconnecting


def test_a_peer_that_ends_is_still_answered(peer: Peer) -> None:
    peer.application.answer = peer.application.transport.write
    peer.say(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.client.unwrap()
    peer.deliver()
    # Python's own TLS reads no more once it has ended its side: an answer and an alert.
    assert len(peer.take()) == 2
    assert peer.transport.disconnecting


def test_a_producer_may_write_after_the_end_was_asked_for(peer: Peer) -> None:
    transport = peer.application.transport
    transport.registerProducer(object(), True)
    transport.loseConnection()
    transport.write(b"last words")
    transport.unregisterProducer()
    peer.take()
    assert peer.received() == b"last words"


def test_what_is_aborted_says_no_more(server: Server, peer: Peer) -> None:
    peer.application.transport.write(b"hello")
    peer.application.transport.abortConnection()
    server.clock.advance(0)
    assert peer.tls._reason is None
    peer.say(b"hello")
    peer.deliver()
    peer.take()
    assert peer.received() == b""
    assert peer.application.heard == b""


def test_one_that_is_over_may_be_aborted(peer: Peer) -> None:
    transport = peer.application.transport
    transport.abortConnection()
    transport.abortConnection()
    peer.tls.connectionLost(Failure(ConnectionDone()))
    transport.abortConnection()


def test_a_connection_that_is_over_may_be_dropped(peer: Peer) -> None:
    connection = ServerProtocol()
    connection.transport = peer.application.transport
    connection.drop()
    peer.tls.connectionLost(Failure(ConnectionDone()))
    connection.drop()


def test_one_of_twisteds_own_too(certificate: tuple[Path, Path]) -> None:
    key, cert = map(str, certificate)
    context = DefaultOpenSSLContextFactory(key, cert)
    factory = TLSMemoryBIOFactory(context, False, Factory.forProtocol(Application), Clock())
    tls: Any = factory.buildProtocol(None)
    tls.makeConnection(Transport())
    abort_connection(tls)
    assert tls.transport.disconnected
    tls.connectionLost(Failure(ConnectionDone()))
    abort_connection(tls)


def test_octets_that_are_no_tls_end_it(peer: Peer) -> None:
    peer.tls.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert peer.transport.disconnecting
    peer.tls.connectionLost(Failure(ConnectionDone()))
    assert peer.application.ended


def test_one_that_is_gone_is_written_to_no_more(server: Server, peer: Peer) -> None:
    transport = peer.application.transport
    transport.write(b"hello")
    peer.tls.connectionLost(Failure(ConnectionDone()))
    peer.take()
    transport.write(b"hello")
    server.clock.advance(0)
    assert peer.take() == []
    assert peer.application.ended


def test_with_another_pyopenssl_it_is_twisteds_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_pyopenssl, "_lib", None)
    peer = server.connect()
    assert isinstance(peer.tls, TLSTransport)
    assert peer.tls._records is None
    peer.application.answer = peer.application.transport.write
    for each in (b"one ", b"two"):
        peer.say(each)
        peer.deliver()
    server.clock.advance(0)
    peer.take()
    assert peer.received() == b"one two"


@pytest.mark.parametrize("octets", [b"G", b"GET /?a=b HTTP/1.1\r\n\r\n", b"HEAD", b"TRACE"])
def test_plain_http_is_told_that_tls_is_spoken(server: Server, octets: bytes) -> None:
    protocol: Any = server.factory.buildProtocol(None)
    transport = Transport()
    protocol.makeConnection(transport)
    protocol.dataReceived(octets)
    head, _, body = transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert transport.disconnecting
    protocol.dataReceived(b"more of it")
    assert transport.value() == head + b"\r\n\r\n" + body


def test_only_what_comes_first_is_looked_at(server: Server) -> None:
    # The second part of a ClientHello may begin as a method does.
    protocol: Any = server.factory.buildProtocol(None)
    transport = Transport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"\x16\x03\x01\x02\x00")
    protocol.dataReceived(b"GET ")
    assert b"HTTP" not in transport.value()
