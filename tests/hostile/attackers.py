"""`python -m tests.hostile.attackers PORT COUNT ATTACK [CERTIFICATE]`: many that attack alike.

They come from several loopback addresses. They say "attacking" once all have begun, and go on
until standard input ends. Then a line of JSON tells what became of them, as `Fate` has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from .peer import BINARY, CLOSE, DEFLATE, PING, PONG, deflated, frames_of, masked
from .styles import PAGE, REQUEST

ADDRESSES = 50
"""Source addresses, from 127.0.0.2 on."""

_MIB = 1024 * 1024
_PACE = 0.1
"""Seconds between two octets of an attacker that is slow."""

_LARGE = masked(BINARY, bytes(_MIB))
_INFLATING = masked(0xC1, deflated("e\u0301".encode() * (_MIB // 3) + b"a"))


def _times(frame: bytes, octets: int = 60_000) -> bytes:
    return frame * (octets // len(frame))


FLOODS = {
    "messages": _times(masked(BINARY, b"a")),
    "bursts": _times(masked(BINARY, b"a"), 2_000),
    "fragments": _times(masked(0x02, b"a") + masked(0x80)),
    "pings": _times(masked(PING, bytes(125))),
    "pongs": _times(masked(PONG)),
    "inflating": _INFLATING,
    "published": _times(masked(BINARY, b"a")),
}
"""Octets that a flooding connection sends again and again. It reads what is answered."""


@dataclass
class Fate:
    """The outcomes of attackers."""

    ended: int = 0
    """Connections that the server ended, or whose attack was over."""
    least: int = 0
    """The same of the attacker that has the fewest."""
    longest: float = 0.0
    """Seconds that the longest of them took."""
    codes: dict[str, int] = field(default_factory=dict)
    """How often the server closed with a code, or answered with a status."""


@dataclass
class Attacker:
    """One of many: where it comes from, and how its connections went."""

    port: int
    number: int
    context: ssl.SSLContext | None = None
    lives: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def reach(self, receive_buffer: int = 0) -> socket.socket:
        """Return a TCP connection from an address that its number decides."""
        made = socket.socket()
        made.settimeout(60)
        # It ends with a reset: what it said before is of no interest to the server then.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        made.bind((f"127.0.0.{2 + self.number % ADDRESSES}", 0))
        made.connect(("127.0.0.1", self.port))
        return made

    def secure(self, receive_buffer: int = 0) -> socket.socket:
        """Return a connection on which a request is awaited: over TLS, if that is attacked."""
        made = self.reach(receive_buffer)
        if self.context is not None:
            made = self.context.wrap_socket(made, server_hostname="localhost")
        return made

    def open(self, receive_buffer: int = 0, headers: str = "") -> socket.socket:
        """Return an open WebSocket connection, on a channel of its own."""
        made = self.secure(receive_buffer)
        request = REQUEST.replace(b"/attack", b"/attack-%d" % self.number)
        made.sendall(request[:-2] + headers.encode() + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            more = made.recv(4096)
            assert more, head
            head += more
        assert head.startswith(b"HTTP/1.1 101 "), head
        return made

    def ended_with(self, received: bytes) -> None:
        """Count the code or the status with which the server ended a connection."""
        code = "nothing"
        if received.startswith(b"HTTP/1.1 "):
            code = received[9:12].decode()
        for first, payload in frames_of(received):
            if first == CLOSE:
                code = str(int.from_bytes(payload[:2], "big"))
        self.codes[code] += 1


def _until_dropped(
    attacker: Attacker, peer: socket.socket, octets: bytes, again: bytes, reading: bool = True
) -> None:
    """Say an octet at a time, then something again and again, until the server lets go."""
    received = b""
    peer.settimeout(_PACE)
    left = octets
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while True:
            if left:
                peer.sendall(left[:1])
                left = left[1:]
            elif again:
                # If nothing is read there is no room one day, but the server still lets go.
                with contextlib.suppress(TimeoutError):
                    peer.send(again)
            elif _is_gone(peer):
                # All of it may have come while the last octets were sent.
                received += _rest(peer)
                break
            with contextlib.suppress(TimeoutError):
                more = peer.recv(65536) if reading else _pause()
                received += more
                if not more:
                    # The server says no more; what counts is that it lets go.
                    _pause()
    attacker.ended_with(received)


def _rest(peer: socket.socket) -> bytes:
    rest = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        while more := peer.recv(65536):
            rest += more
    return rest


def _pause() -> bytes:
    time.sleep(_PACE)
    return b""


def _is_gone(peer: socket.socket) -> bool:
    """Return True if TCP is over: reset, or ended by the peer."""
    polled = select.poll()
    polled.register(peer, select.POLLRDHUP)
    return bool(polled.poll(0))


def _silent(attacker: Attacker) -> None:
    with attacker.reach() as peer:
        _until_dropped(attacker, peer, b"", b"")


def _trickling(attacker: Attacker) -> None:
    octets = REQUEST
    if attacker.context is not None:
        hello = ssl.MemoryBIO()
        client = attacker.context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        octets = hello.read()
    with attacker.reach() as peer:
        _until_dropped(attacker, peer, octets, b"")


def _unfinished(attacker: Attacker) -> None:
    with attacker.open() as peer:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            peer.sendall(_LARGE[:-1])
        _until_dropped(attacker, peer, b"", b"")


def _lingering(attacker: Attacker) -> None:
    with attacker.open() as peer:
        peer.sendall(masked(CLOSE, struct.pack("!H", 1000)))
        _until_dropped(attacker, peer, b"", masked(PING))


def _deaf(attacker: Attacker) -> None:
    octets = masked(BINARY, bytes(60_000))
    with attacker.open(receive_buffer=16 * 1024) as peer:
        peer.settimeout(5 * _PACE)
        with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
            while True:
                peer.sendall(octets)
        _until_dropped(attacker, peer, b"", octets, reading=False)


def _page(attacker: Attacker) -> None:
    with attacker.secure(receive_buffer=2048) as peer:
        peer.sendall(PAGE)
        # It keeps the window shut, and asks the kernel whether the server has given up.
        while not _is_reset(peer):
            _pause()
        attacker.ended_with(b"")


def _is_reset(peer: socket.socket) -> bool:
    polled = select.poll()
    polled.register(peer, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in polled.poll(0))


def _coming_and_going(attacker: Attacker) -> None:
    with attacker.open() as peer:
        peer.sendall(masked(CLOSE, struct.pack("!H", 1000)))
        received = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while more := peer.recv(4096):
                received += more
        attacker.ended_with(received)


LIVES: dict[str, Callable[[Attacker], None]] = {
    "coming and going": _coming_and_going,
    "silent": _silent,
    "trickling": _trickling,
    "unfinished": _unfinished,
    "lingering": _lingering,
    "deaf": _deaf,
    "page": _page,
}
"""The acts of an attacker on a connection. After its end the attacker connects again."""


def _live(attacker: Attacker, life: Callable[[Attacker], None]) -> None:
    while True:
        began = time.monotonic()
        life(attacker)
        attacker.lives.append(time.monotonic() - began)


def live(attackers: list[Attacker], life: Callable[[Attacker], None]) -> None:
    """Have each attacker live again and again, until standard input ends."""
    threads = [threading.Thread(target=_live, args=(each, life), daemon=True) for each in attackers]
    for each in threads:
        each.start()
    _say("attacking")
    sys.stdin.read()
    assert all(each.is_alive() for each in threads), "an attack failed"


def flood(attackers: list[Attacker], octets: bytes, headers: str) -> None:
    """Send octets on connections again and again, and read what is answered."""
    connections = {each.open(headers=headers): each for each in attackers}
    _say("attacking")
    left = {each.fileno(): (each, memoryview(octets)) for each in connections}
    epoll = select.epoll()
    for each in connections:
        each.setblocking(False)
        epoll.register(each.fileno(), select.EPOLLIN | select.EPOLLOUT)
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    while True:
        busy = False
        for fd, event in epoll.poll(0.1):
            if fd == sys.stdin.fileno():
                return
            connection, rest = left[fd]
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if event & select.EPOLLIN:
                    # TLS gives a record at a time; what it has read is no event any more.
                    while received := connection.recv(1 << 18):
                        busy = True
                        if not isinstance(connection, ssl.SSLSocket):
                            break
                    assert received, "the server ended a flood"
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if event & select.EPOLLOUT:
                    rest = rest[connection.send(rest) :]
                    left[fd] = connection, rest or memoryview(octets)
                    busy = True
        if not busy:
            time.sleep(0.001)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Attack, and tell what became of it."""
    port, count, attack = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    context = ssl.create_default_context(cafile=sys.argv[4]) if sys.argv[4:] else None
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    attackers = [Attacker(port, number, context) for number in range(count)]
    if attack in FLOODS:
        flood(attackers, FLOODS[attack], DEFLATE if attack == "inflating" else "")
    else:
        live(attackers, LIVES[attack])
    codes = sum((each.codes for each in attackers), Counter[str]())
    lives = [each.lives for each in attackers]
    fate = Fate(
        sum(map(len, lives)),
        min(map(len, lives)),
        max((max(each) for each in lives if each), default=0.0),
        dict(codes),
    )
    _say(json.dumps(asdict(fate)))
    # Its threads go on else.
    os._exit(0)


if __name__ == "__main__":
    main()
