"""A server or a client in memory, and a raw peer that sees every octet of it."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from wsservice.channels.history import history_of
from wsservice.channels.hub import LocalHub
from wsservice.client.options import ClientConfig
from wsservice.client.protocol import ClientFactory, ClientProtocol
from wsservice.client.security import HostSecurity
from wsservice.config.config import Config
from wsservice.log.journal import Journal
from wsservice.log.lines import TextLines
from wsservice.server.behaviours import ServerFactory, ServerProtocol

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PEER = IPv4Address("TCP", "192.0.2.1", 5000)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Frame = tuple[int, bytes]


@implementer(ILogObserver)
class Logged:
    """The log of a test."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)

    @property
    def text(self) -> str:
        return "\n".join(eventAsText(event, includeTimestamp=False) for event in self.events)

    @property
    def failures(self) -> list[str]:
        """Each event that carries a failure, as printed."""
        return [eventAsText(event) for event in self.events if "log_failure" in event]


class Lines:
    """A destination of the message log that keeps its lines."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reopened = 0
        self.closed = 0
        self.dropped = 0
        self.flush: Callable[[], None] = lambda: None
        self.wanted = True

    @property
    def lines(self) -> list[str]:
        """All lines, without their ends; those that the journal still holds too."""
        self.flush()
        return b"".join(self.written).decode().split("\n")[:-1]

    def write(self, lines: bytes) -> None:
        self.written.append(lines)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed += 1


class Transport(StringTransport):
    """As forgiving as Twisted's own transports."""

    def __init__(self, peer: Any = PEER) -> None:
        super().__init__(peerAddress=peer, lenient=True)

    def unregisterProducer(self) -> None:
        self.producer = None

    def is_paused(self) -> bool:
        return bool(self.producerState == "paused")


def opening_request(path: str = "/", *headers: str, key: str | None = KEY) -> bytes:
    """The head of a client's opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost:8080",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Key: {key}"] if key else []),
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, masked: bool = True, fin: bool = True) -> bytes:
    """One frame; its mask, if it has one, is zero."""
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        length = struct.pack("!B", mask | size)
    elif size < 65536:
        length = struct.pack("!BH", mask | 126, size)
    else:
        length = struct.pack("!BQ", mask | 127, size)
    return bytes([0x80 * fin | opcode]) + length + bytes(4 * masked) + payload


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def frames(octets: bytes) -> Iterator[Frame]:
    """The whole frames in some octets, unmasked."""
    while octets:
        size = octets[1] & 127
        start = 2
        if size == 126:
            size, start = int.from_bytes(octets[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(octets[2:10], "big"), 10
        key = bytes(4)
        if octets[1] & 128:
            key, start = octets[start : start + 4], start + 4
        payload = octets[start : start + size]
        assert len(payload) == size
        yield octets[0] & 15, bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))
        octets = octets[start + size :]


class Peer:
    """The other end of a connection, in octets."""

    def __init__(self, protocol: Any, peer: Any = PEER) -> None:
        self.protocol = protocol
        self.transport = Transport(peer)
        self.protocol.makeConnection(self.transport)

    def send(self, octets: bytes) -> None:
        self.protocol.dataReceived(octets)

    def taken(self) -> bytes:
        """Return the octets received since the last call."""
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets

    def frames(self) -> list[Frame]:
        return list(frames(self.taken()))

    def lose(self, reason: Exception | None = None) -> None:
        """End the connection, as the network does."""
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def dropped(self) -> bool:
        return bool(self.transport.disconnecting)

    @property
    def aborted(self) -> bool:
        return bool(self.transport.disconnected)


class Client(Peer):
    """A raw client of a server's connection."""

    def ask(self, path: str = "/", *headers: str) -> bytes:
        """Send an opening handshake, and give what is answered."""
        self.send(opening_request(path, *headers))
        return self.taken()

    def open(self, path: str = "/") -> Client:
        """Open the connection. Octets right behind the answer are kept."""
        head, _, rest = self.ask(path).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.transport.write(rest)
        return self

    def text(self, text: str) -> None:
        self.send(frame(TEXT, text.encode()))

    def close(self, code: int = 1000) -> None:
        self.send(frame(CLOSE, close_payload(code)))


class Served:
    """A server in memory."""

    def __init__(self, protocol: type[ServerProtocol] = ServerProtocol, **settings: Any) -> None:
        self.config = Config(**settings)
        self.clock = Clock()
        self.log = Lines()
        self.hub = LocalHub(
            self.clock.seconds, history=history_of(self.config), wall=self.clock.seconds
        )
        journal = Journal(self.log, TextLines(), self.config.log_payload, self.clock)
        self.log.flush = journal.flush
        self.factory = ServerFactory(self.config, protocol, journal, self.hub, self.clock)

    def connect(self, peer: Any = PEER) -> Client:
        protocol: Any = self.factory.buildProtocol(peer)
        return Client(protocol, peer)


class Server(Peer):
    """A raw server of a client's connection."""

    def accept(self, *headers: str) -> Server:
        """Answer the opening handshake as a server should."""
        self.send(self.acceptance(*headers))
        return self

    def acceptance(self, *headers: str) -> bytes:
        self.request = self.taken()
        (key,) = (
            line.split(b": ")[1]
            for line in self.request.split(b"\r\n")
            if line.startswith(b"Sec-WebSocket-Key")
        )
        magic = key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(magic).digest()).decode()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
            *headers,
        ]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class Connecting:
    """A client in memory, and the raw server that it talks to."""

    def __init__(
        self,
        protocol: type[ClientProtocol] = ClientProtocol,
        url: str = "ws://server.example:8080/there",
        security: HostSecurity | None = None,
        **settings: Any,
    ) -> None:
        self.clock = Clock()
        self.config = ClientConfig(url=url, **settings)
        self.factory: ClientFactory[Any] = ClientFactory(
            self.config, protocol, self.clock, security
        )
        self.outcome: list[Any] = []
        self.factory.opening.addBoth(self.outcome.append)
        self.protocol: Any = self.factory.buildProtocol(PEER)
        self.server = Server(self.protocol)


class Recorder(ServerProtocol):
    """Keeps what happened, in order."""

    def onOpen(self) -> None:
        self.seen: list[Any] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.seen.append((payload, isBinary))

    def onPing(self, payload: bytes) -> None:
        self.seen.append(("ping", payload))
        super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.seen.append(("close", wasClean, code))


class ByAutobahn(Recorder):
    """The same, with every frame left to Autobahn."""

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)


def one_turn(clock: Clock) -> None:
    """Run what is due, as a reactor's turn does. `Clock.advance` also runs what that asks for."""
    due: list[Any] = [each for each in clock.calls if each.getTime() <= clock.seconds()]
    for call in due:
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)
