"""From publishing a message to its delivery: `make bench-publishing`, for docs/publishing.md.

A service with its admin face, connections by the thousand on one channel, and one
publisher, which publishes at a steady pace. The time is taken from the request to
the message's last octet at each connection. In every other round, some of the
connections never read. Their share is theirs to lose: what is measured is the
latency of the others. The service has one core, all else another.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from . import building, machine, report
from .document import with_part
from .errors import BenchmarkError, MeasurementError
from .nodes import CHANNEL, Node, listening, node
from .processes import ROOT, cores

DOCUMENT = ROOT / "docs" / "publishing.md"
PART = "latencies"

_SIZE = 4096
_SLOW = 0.05
_DELIVERED = 20_000
"""Messages delivered in a second: 20 published to 1,000, 4 to 5,000."""

_WARMING = 3
_MESSAGES = 100

_FILLING = 500
"""Messages that fill a connection which nobody reads, at most."""

_RESERVE = 200
"""Descriptors for all else."""

_REQUEST = (
    f"GET /{CHANNEL} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


@attrs.frozen
class Latencies:
    """The latencies of a round, in milliseconds."""

    p50: float
    p99: float
    dropped: int
    """How often somebody was too slow."""


def idle(port: int) -> socket.socket:
    """A connection that is open, and that nobody reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(20)
    made.connect(("127.0.0.1", port))
    made.sendall(_REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = made.recv(1)
        if not more:
            raise MeasurementError("the service refuses a connection")
        head += more
    return made


def fill(serving: Node, slow: int) -> None:
    """Publish to those who do not read, until the kernel takes no more for any of them."""
    for _ in range(_FILLING):
        if serving.publish(1, 65535, in_flight=1).dropped >= slow:
            return
    raise MeasurementError("the slow readers are not slow")


def measured(program: Path, connections: int, slow: int, messages: int = _MESSAGES) -> Latencies:
    """A round. `program` is the load generator."""
    options = ("--send-buffer", "65536", "--slow-client", "drop")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        serving = stack.enter_context(node(folder, *options, where=cores()[0]))
        for _ in range(slow):
            stack.enter_context(idle(serving.port))
        if slow:
            fill(serving, slow)
        pace = _DELIVERED / connections
        load = stack.enter_context(
            listening(program, folder, [serving], connections - slow, _WARMING + messages)
        )
        serving.publish(_WARMING, _SIZE, rate=pace, stamps=False)
        asked = serving.publish(messages, _SIZE, rate=pace)
        heard = load.result()
    return Latencies(heard["p50_us"] / 1e3, heard["p99_us"] / 1e3, asked.dropped)


def descriptors(connections: int) -> None:
    """Have room for so many connections. Raises `BenchmarkError` where there is none."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < connections + _RESERVE:
        raise BenchmarkError(
            f"{connections:,} connections take as many descriptors, and the limit is {hard:,}:"
            " raise it (ulimit -Hn), or have fewer"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def written(found: dict[tuple[int, int], list[Latencies]], rounds: int, load: float) -> str:
    """The document's part."""
    rows = [
        (
            f"{connections:,}",
            f"{slow:,}" if slow else "none",
            report.number(statistics.median(each.p50 for each in samples)),
            report.number(statistics.median(each.p99 for each in samples)),
            report.number(min(each.p99 for each in samples)),
        )
        for (connections, slow), samples in found.items()
    ]
    head = ("connections", "of these, never read", "p50 ms", "p99 ms", "lowest p99")
    return (
        f"Measured by `make bench-publishing` on {datetime.now(UTC):%Y-%m-%d}."
        f" Machine: {machine.processor()}, {machine.kernel()}, {machine.python()}; its load was"
        f" {load:.1f} before. Figures are medians of {rounds} rounds, in turns. Messages have"
        f" {_SIZE:,} octets; {_DELIVERED:,} are delivered each second, with `--slow-client drop`."
        f"\n\n{report.markdown(head, rows)}"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/publishing.md")
    return parser.parse_args(arguments)


def run(asked: argparse.Namespace) -> None:
    """Measure, in turns, and say what came of it."""
    descriptors(max(asked.connections))
    program = building.load_generator()
    load, _, _ = os.getloadavg()
    os.sched_setaffinity(0, cores()[1])
    found: dict[tuple[int, int], list[Latencies]] = {}
    for number in range(1, asked.rounds + 1):
        for connections in asked.connections:
            for slow in (0, round(connections * _SLOW)):
                each = measured(program, connections, slow)
                found.setdefault((connections, slow), []).append(each)
                print(
                    f"round {number}: {connections} connections, {slow} of them slow:"
                    f" p50 {each.p50:.1f} ms, p99 {each.p99:.1f} ms;"
                    f" {each.dropped} times somebody was too slow",
                    flush=True,
                )
    for connections in asked.connections:
        none, some = (
            statistics.median(each.p99 for each in found[connections, slow])
            for slow in (0, round(connections * _SLOW))
        )
        print(
            f"{connections} connections: p99 with slow ones {some:.1f} ms, with none {none:.1f} ms:"
            f" {some / none:.2f} x (wanted: at most 2 x)"
        )
    if asked.write:
        DOCUMENT.write_text(
            with_part(DOCUMENT.read_text(), PART, written(found, asked.rounds, load))
        )
        print(f"written: {DOCUMENT.relative_to(ROOT)}")


def main() -> int:
    """The exit status: 0, or 2 where it cannot be measured."""
    try:
        run(parse())
    except (BenchmarkError, OSError, subprocess.SubprocessError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
