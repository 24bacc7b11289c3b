"""A peer that says what it likes, and sees every frame of the answer."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable, Iterator

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n"
"""The header that asks for compression."""


def masked(first: int, payload: bytes = b"") -> bytes:
    """A client's frame. The key is zero: the payload goes as it is."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    return head + bytes(4) + payload


def frames_of(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The first octets and payloads of a server's frames, as far as they are whole."""
    start = 0
    while len(octets) - start >= 2:
        size, begin = octets[start + 1], start + 2
        if size == 126:
            size, begin = int.from_bytes(octets[begin : begin + 2], "big"), begin + 2
        elif size == 127:
            size, begin = int.from_bytes(octets[begin : begin + 8], "big"), begin + 8
        if begin + size > len(octets):
            return
        yield octets[start], octets[begin : begin + size]
        start = begin + size


def code_of(octets: bytes) -> int | None:
    """The code of the close frame in what a server sent, None where there is none."""
    for first, payload in frames_of(octets):
        if first == CLOSE:
            return int.from_bytes(payload[:2], "big")
    return None


def deflated(payload: bytes) -> bytes:
    """A message as permessage-deflate has it, without its last four octets."""
    machine = zlib.compressobj(wbits=-12)
    return (machine.compress(payload) + machine.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Exchange:
    """Sends without end while it reads, until the server ends the connection."""

    def __init__(self, connection: socket.socket, octets: bytes, more: bytes) -> None:
        self.connection = connection
        self.received = b""
        self.sent = 0
        self.over = False
        self.took = 0.0
        self._ended = False
        self._octets = octets
        self._more = more
        self._began = time.monotonic()
        connection.setblocking(False)

    def turn(self) -> None:
        """Send and read what goes."""
        try:
            if self._octets:
                count = self.connection.send(self._octets)
                self.sent += count
                self._octets = self._octets[count:] or self._more
        except BlockingIOError:
            pass
        except OSError:
            self._octets = b""  # the server is gone; what it said may still be there
        try:
            chunk = self.connection.recv(1 << 20)
            self.received += chunk
            self._ended = not chunk
        except BlockingIOError:
            pass
        except OSError:
            self._ended = True
        # The server's end of TCP is over when it takes no more of ours, either.
        self.over = self._ended and not self._octets
        self.took = time.monotonic() - self._began


def exchange(exchanges: list[Exchange], seconds: float, pause: float = 0.005) -> None:
    """Go on until all are over. Fails where one is not, after so long."""
    deadline = time.monotonic() + seconds
    while left := [each for each in exchanges if not each.over]:
        assert time.monotonic() < deadline, f"{len(left)} connections are not over"
        for each in left:
            each.turn()
        time.sleep(pause)


def blast(
    connection: socket.socket, octets: bytes, seconds: float, reading: bool, answered: int = 0
) -> tuple[int, int]:
    """Send some octets again and again, whole, for so long: how often, and octets received.

    `answered` is how many octets they are answered with: no more is sent than the
    server needs to have something to read at all times.
    """
    connection.setblocking(False)
    deadline = time.monotonic() + seconds
    times = received = 0
    left = memoryview(octets)
    while time.monotonic() < deadline or (reading and len(left) < len(octets)):
        assert time.monotonic() < deadline + 20, "the server reads no more"
        sending = not answered or received >= (times - 2) * answered
        readable, writable, _ = select.select(
            [connection] if reading else [], [connection] if sending else [], [], 0.1
        )
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if reading and (readable or isinstance(connection, ssl.SSLSocket)):
                while chunk := len(connection.recv(1 << 20)):
                    received += chunk
                    if not isinstance(connection, ssl.SSLSocket):
                        break
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if writable:
                left = left[connection.send(left) :]
                if not left:
                    times += 1
                    left = memoryview(octets)
    connection.setblocking(True)
    connection.settimeout(20)
    return times, received


def until(holds: Callable[[], object], seconds: float) -> float:
    """Wait until something holds: how long that took. Fails when it takes too long."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began
