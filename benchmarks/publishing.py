"""From publishing a message to its delivery: `python -m benchmarks.publishing`.

A service with its admin face, a thousand connections on one channel, and one
publisher, which publishes at a steady pace by `wsservice.publisher`. Each
connection takes the time from the publisher's call to the message's last octet.
In every other round, some of the connections never read. Their share is theirs to
lose: what is measured is the latency of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from wsservice.publisher import Publisher

from .errors import MeasurementError
from .processes import ROOT, cores, free_port

_CHANNEL = "bench"
_STAMP = 20
"""Octets of the time at a message's beginning, in decimal digits of nanoseconds."""

_HEAD = 4
"""Octets of a frame's head, of messages from 126 to 65535 octets."""

_STARTING = 20.0
_WARMING = 1.0
"""Seconds: how long the service may take to start, and what is not counted of a round."""

_FILLING = 500
"""Messages that fill a connection which nobody reads, at most."""

_REQUEST = (
    f"GET /{_CHANNEL} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


class Reader:
    """A connection that reads, and takes the time."""

    def __init__(self, port: int) -> None:
        self.socket = opened(port)
        self.socket.setblocking(False)
        self._buffer = b""

    def read(self, latencies: list[int], size: int, counted_from: int) -> None:
        """Read what there is."""
        try:
            self._buffer += self.socket.recv(262144)
        except BlockingIOError:
            return
        now = time.monotonic_ns()
        whole = size + _HEAD
        for start in range(0, len(self._buffer) - whole + 1, whole):
            stamp = int(self._buffer[start + _HEAD : start + _HEAD + _STAMP])
            if stamp >= counted_from:
                latencies.append(now - stamp)
        self._buffer = self._buffer[len(self._buffer) // whole * whole :]


def opened(port: int, receive_buffer: int = 0) -> socket.socket:
    """An open connection."""
    made = socket.socket()
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.settimeout(_STARTING)
    made.connect(("127.0.0.1", port))
    made.sendall(_REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = made.recv(1)
        if not more:
            raise MeasurementError("the service refuses a connection")
        head += more
    return made


@contextlib.contextmanager
def service(folder: Path) -> Iterator[tuple[int, Publisher]]:
    """A service: its port, and a publisher."""
    port, admin = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "twisted", "--log-file", str(folder / "log"), "wsdemo"),
        *("--port", str(port), "--greeting", "", "--admin", f"tcp:{admin}:interface=127.0.0.1"),
        *("--send-buffer", "65536", "--slow-client", "drop"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, cores()[0])
    publisher = Publisher(f"http://127.0.0.1:{admin}", timeout=30)
    deadline = time.monotonic() + _STARTING
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", admin)).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise MeasurementError("the service does not start")
            time.sleep(0.05)
        yield port, publisher
    finally:
        publisher.close()
        process.kill()
        process.wait()


def published(publisher: Publisher, size: int, pause: float, until: float) -> int:
    """Publish at a steady pace until some time: at how many connections the policy did its work."""
    dropped = 0
    next_one = time.monotonic()
    while next_one < until:
        time.sleep(max(0.0, next_one - time.monotonic()))
        payload = f"{time.monotonic_ns():0{_STAMP}d}".encode().ljust(size, b".")
        dropped += publisher.publish(_CHANNEL, payload).dropped
        next_one += pause
    return dropped


def fill(publisher: Publisher, slow: int) -> None:
    """Publish to those who do not read, until the kernel takes no more for any of them."""
    for _ in range(_FILLING):
        if publisher.publish(_CHANNEL, bytes(65535)).dropped >= slow:
            return
    raise MeasurementError("the slow readers are not slow")


def measured(asked: argparse.Namespace, slow: int) -> tuple[list[int], int]:
    """A round: each latency in nanoseconds, and how often a reader was too slow."""
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (port, publisher):
        idle = [opened(port, receive_buffer=4096) for _ in range(slow)]
        fill(publisher, slow)
        readers = [Reader(port) for _ in range(asked.connections - slow)]
        poll = select.epoll()
        by_descriptor = {each.socket.fileno(): each for each in readers}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        latencies: list[int] = []
        dropped: list[int] = []
        began = time.monotonic()
        until = began + _WARMING + asked.seconds
        counted_from = int((began + _WARMING) * 1e9)
        pace = (publisher, asked.size, 1 / asked.rate, until)
        thread = threading.Thread(target=lambda: dropped.append(published(*pace)))
        thread.start()
        while thread.is_alive() or poll.poll(0.2):
            for descriptor, _ in poll.poll(0.2):
                by_descriptor[descriptor].read(latencies, asked.size, counted_from)
        for each in (*idle, *(reader.socket for reader in readers)):
            each.close()
        poll.close()
    if not latencies or not dropped:
        raise MeasurementError("nothing was delivered")
    return latencies, dropped[0]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--slow", type=float, default=0.05, help="the share that never reads")
    parser.add_argument("--rate", type=float, default=10, help="messages a second")
    parser.add_argument("--size", type=int, default=4096, help="octets of a message, 126 to 65535")
    parser.add_argument("--seconds", type=float, default=8, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure, in turns, and say what came of it."""
    asked = parse()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, cores()[1])
    slow = round(asked.connections * asked.slow)
    p99: dict[int, list[float]] = {0: [], slow: []}
    for number in range(1, asked.rounds + 1):
        for share in p99:
            latencies, dropped = measured(asked, share)
            cuts = statistics.quantiles(latencies, n=100)
            p50, last = cuts[49] / 1e6, cuts[98] / 1e6
            p99[share].append(last)
            print(
                f"round {number}: {asked.connections} connections, {share} of them slow:"
                f" {len(latencies)} delivered, p50 {p50:.1f} ms, p99 {last:.1f} ms;"
                f" {dropped} times somebody was too slow",
                flush=True,
            )
    # The lowest is what a shared machine disturbed least.
    for name, of in (("medians", statistics.median), ("the lowest of each", min)):
        none, some = (of(each) for each in p99.values())
        print(
            f"p99 with {slow} slow {some:.1f} ms, with none {none:.1f} ms: {some / none:.2f} x"
            f" ({name} of {asked.rounds} rounds; wanted: at most 2 x)"
        )


if __name__ == "__main__":
    try:
        main()
    except MeasurementError as problem:
        sys.exit(str(problem))
