"""Publishing by HTTP, many in flight or at a pace, and what became of it."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections import Counter

import attrs

from .errors import MeasurementError

STAMP = 20
"""Octets of the time at a message's beginning, in decimal digits of nanoseconds: the load
generator's `listen` reads it."""

_PATIENCE = 60.0


@attrs.frozen
class Asked:
    """The outcomes of published messages."""

    statuses: Counter[int]
    """How many answers had each status."""
    dropped: int
    """How often somebody was too slow."""
    seconds: float

    @property
    def accepted(self) -> int:
        """How many were."""
        return self.statuses[200] + self.statuses[202]


class Line:
    """A connection to an admin face: one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def ask(self, path: str, body: bytes, kind: str) -> None:
        """Begin to ask."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def wait(self) -> tuple[int, bytes]:
        """Status and body of the answer."""
        while (said := self.answer()) is None:
            pass
        return said

    def answer(self) -> tuple[int, bytes] | None:
        """Read what there is: status and body, once there is all of it."""
        more = self.socket.recv(65536)
        if not more:
            raise MeasurementError("the admin face closed a connection")
        self._read += more
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        (length,) = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        if len(body) < length:
            return None
        self._read = body[length:]
        return int(head.split(b" ", 2)[1]), body[:length]


def stamped(size: int, stamp: int) -> bytes:
    """A message that says when it was published; `stamp` 0: it counts as no latency."""
    return f"{stamp:0{STAMP}d}".encode().ljust(size, b".")


def publish(
    port: int,
    channel: str,
    count: int,
    size: int,
    *,
    in_flight: int = 8,
    rate: float = 0.0,
    lines: int = 0,
    stamps: bool = True,
) -> Asked:
    """Publish `count` messages by the admin face on a port.

    As fast as they are answered, so many in flight, or at a `rate` of messages a
    second. With `lines`, so many messages go in each request.
    """
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(contextlib.closing(Line(port))) for _ in range(in_flight)]
        return _published(free, channel, count, size, rate, lines, stamps)


def _published(
    free: list[Line], channel: str, count: int, size: int, rate: float, lines: int, stamps: bool
) -> Asked:
    """The same, by connections that are there."""
    every = {each.socket.fileno(): each for each in free}
    poll = select.poll()
    for descriptor in every:
        poll.register(descriptor, select.POLLIN)
    statuses: Counter[int] = Counter()
    dropped = left = 0
    requests = count // lines if lines else count
    began = next_one = time.monotonic()
    while sum(statuses.values()) < requests:
        now = time.monotonic()
        if now > began + _PATIENCE + (count / rate if rate else 0):
            raise MeasurementError("the admin face does not answer")
        while free and left < requests and now >= next_one:
            stamp = time.monotonic_ns() if stamps else 0
            if lines:
                data = stamped(size, stamp).decode()
                line = json.dumps({"channel": channel, "data": data}).encode() + b"\n"
                free.pop().ask("/publish", line * lines, "application/x-ndjson")
            else:
                free.pop().ask(f"/publish/{channel}", stamped(size, stamp), "text/plain")
            left += 1
            next_one += 1 / rate if rate else 0.0
        # With `rate`, sleep no longer than until the next is due.
        wait = next_one - time.monotonic() if rate and free and left < requests else 1.0
        for descriptor, _ in poll.poll(max(0.0, wait) * 1000):
            line_asked = every[descriptor]
            answered = line_asked.answer()
            if answered is not None:
                statuses[answered[0]] += 1
                if answered[0] in (200, 202):
                    dropped += json.loads(answered[1]).get("dropped", 0)
                free.append(line_asked)
    seconds = time.monotonic() - began
    return Asked(statuses, dropped, seconds)
