"""Faster than the limits on speed allow: slowed down, refused or closed, and nobody else is."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ..integration.wire import Wire
from .harness import MIB, Attack, row
from .peer import PING, PONG, TEXT, frames_of, masked

ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
"""Addresses besides 127.0.0.1, from which the neighbour and the harness come."""

REQUEST = (
    b"GET /attack HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def _flood(attack: Attack, wire: Wire, octets: bytes, seconds: float) -> tuple[float, bytes, int]:
    """Send and read for some seconds: how long that was, what came, and how much was sent."""
    connection = wire.socket
    connection.setblocking(False)
    began = time.monotonic()
    received, sent, left = [], 0, memoryview(octets)
    while time.monotonic() < began + seconds:
        try:
            count = connection.send(left)
        except BlockingIOError:
            time.sleep(0.001)
        else:
            sent += count
            left = left[count:] or memoryview(octets)
        try:
            received.append(connection.recv(1 << 20))
        except BlockingIOError:
            continue
    return time.monotonic() - began, b"".join(received), sent


@row(
    "flood of messages, and one of pings, beyond `--limit-messages`",
    "answered at the rate; the rest stays in the sender's system; memory + 1 MiB",
    memory=MIB,
    options=("--limit-messages", "1000:2000"),
)
def test_a_flood_beyond_the_limit_is_answered_at_the_rate(attack: Attack) -> str:
    seconds = 6.0 if attack.full else 1.5
    floods = [(masked(TEXT, b"a"), TEXT), (masked(PING), PONG)]
    with ThreadPoolExecutor(2) as pool:
        running = [
            (pool.submit(_flood, attack, attack.connect(), octets * 5000, seconds), kind)
            for octets, kind in floods
        ]
        for each, kind in running:
            took, received, sent = each.result()
            answers = [first for first, _ in frames_of(received)]
            assert set(answers) == {kind}
            assert 2000 <= len(answers) <= 2000 + 1000 * took + 1
            # A few MiB fit into the buffers of both systems, whatever the time.
            assert sent < 16 * MIB
            attack.notes[f"answers of {kind:#x}"] = f"{len(answers)}"
    return "answered at the rate"


@row(
    "flood by 20 connections of one address, beyond `--limit-messages address`",
    "all together are answered at the rate, each with its part; memory + 2 MiB",
    memory=2 * MIB,
    options=("--limit-messages", "address=1000:1000"),
)
def test_connections_of_one_address_share_a_limit(attack: Attack) -> str:
    seconds = 6.0 if attack.full else 2.0
    wires = [attack.connect(source=ATTACKER) for _ in range(20)]
    octets = masked(TEXT, b"a") * 5000
    with ThreadPoolExecutor(len(wires)) as pool:
        running = [pool.submit(_flood, attack, wire, octets, seconds) for wire in wires]
        outcomes = [each.result() for each in running]
    counts = [len(list(frames_of(received))) for _, received, _ in outcomes]
    longest = max(took for took, _, _ in outcomes)
    assert sum(counts) <= 1000 + 1000 * (longest + 1)
    # The first had the burst for itself.
    assert min(counts) >= 1000 * seconds / len(wires) / 4
    attack.notes["answers"] = f"{sum(counts)}, for each {min(counts)} to {max(counts)}"
    return "answered at the rate"


@row(
    "messages beyond `--limit-messages` with `--limit-action close`",
    "1008",
    memory=MIB,
    options=("--limit-messages", "1000:1000", "--limit-action", "close"),
)
def test_a_flood_is_closed_if_that_is_wanted(attack: Attack) -> str:
    for octets in (masked(TEXT, b"a"), masked(PING)):
        wire = attack.connect()
        wire.socket.sendall(octets * 5000)
        received = b""
        while chunk := wire.socket.recv(1 << 20):
            received += chunk
        answers = list(frames_of(received))
        assert len(answers) >= 1001
        assert answers[-1] == (0x88, b"\x03\xf0too many messages")
    return "1008"


def _status(port: int, source: str, before: bytes = b"") -> int:
    """Connect from an address, and return the status of the answer; 0 without one."""
    with socket.socket() as connection:
        connection.settimeout(20)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", port))
        try:
            connection.sendall(before + REQUEST)
            said = connection.recv(4096)
        except ConnectionError:
            return 0
    found = re.match(rb"HTTP/1\.1 (\d+) ", said)
    if found and found[1] == b"429":
        assert re.search(rb"\r\nRetry-After: \d+\r\n", said)
    return int(found[1]) if found else 0


@row(
    "connects at full speed from one address, beyond `--limit-connects`",
    "429 with `Retry-After`; every client of another address connects; memory + 2 MiB",
    memory=2 * MIB,
    options=("--limit-connects", "20:50"),
)
def test_an_address_that_connects_too_fast_is_refused(attack: Attack) -> str:
    count = 4000 if attack.full else 600
    attack.connections += count + 40
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        flood = pool.map(lambda _: _status(attack.port, ATTACKER), range(count))
        others = [_status(attack.port, OTHER) for _ in range(40)]
        statuses = list(flood)
    took = time.monotonic() - began
    assert others == [101] * 40
    assert set(statuses) <= {101, 429, 0}
    assert 50 <= statuses.count(101) <= 50 + 20 * took + 1
    assert statuses.count(429) > count / 2 or took > count / 40
    attack.notes["statuses"] = f"{statuses.count(101)} times 101, {statuses.count(429)} times 429"
    return "429"


@row(
    "connects from 40,000 addresses, beyond `--limit-connects` from one of them",
    "429 for that one, all the time; memory + 24 MiB",
    memory=24 * MIB,
    options=("--limit-connects", "1/m:20", "--listen", "haproxy:tcp:0:interface=127.0.0.1"),
)
def test_many_addresses_do_not_free_the_one_that_is_held_back(attack: Attack) -> str:
    count = 40_000 if attack.full else 2000
    attack.connections += count
    _, port = attack.server.log.wait_for_ports(2)

    def connect(number: int) -> int:
        name = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        return _status(port, "127.0.0.1", f"PROXY TCP6 {name} ::1 5000 80\r\n".encode())

    held = 1_000_000
    began = time.monotonic()
    assert [connect(held) for _ in range(21)] == [101] * 20 + [429]
    refused = 0
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, count, 1000):
            assert set(pool.map(connect, range(start, start + 1000))) == {101}
            refused += connect(held) == 429
            admitted = start // 1000 + 1 - refused
            assert admitted <= (time.monotonic() - began) / 60 + 1
    attack.notes["refused"] = f"{refused} of {count // 1000}"
    return "429"
