"""Many connections: nothing of them is left, and each costs little."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import time
import zlib

from ..integration.processes import wait_until
from ..integration.wire import TEXT, Wire, frame
from .channels import CONTROL
from .harness import MIB, Attack, row
from .processes import KIB
from .rooms import ROOMY, roomy
from .styles import GOODBYE, REQUEST, STYLES, read_all

COUNTED = ("--protocol", "tests.hostile.counting.Counted")


# Of this process, and of the servers that it starts: shells often allow 1,024.
_hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, _hard), _hard))


def _alive(control: Wire, asked: str = "alive") -> int:
    control.send(asked)
    return int(json.loads(control.receive())["alive"])  # type: ignore[arg-type]


def _in_every_style(
    attack: Attack, control: Wire, context: ssl.SSLContext | None, times: int
) -> None:
    """Many attackers of each style come; afterwards all are freed, without the collector."""
    alive = _alive(control)
    port = attack.tls_port if context else attack.port
    for _ in range(times):
        for style in STYLES.values():
            with socket.create_connection(("127.0.0.1", port), 20) as plain:
                attack.connections += 1
                peer = context.wrap_socket(plain, server_hostname="localhost") if context else plain
                with contextlib.closing(peer):
                    style(peer)
        wait_until(lambda: _alive(control) == alive, "every connection to be freed", 8)
        if context:
            # Twisted leaves failures of its own in cycles, and OpenSSL's buffers with them.
            _alive(control, "collect")


def _nothing_is_left(attack: Attack, context: ssl.SSLContext | None, times: int) -> str:
    control = attack.connect(f"/{CONTROL}")
    # What Python and the allocator keep once and for all is there after the first.
    _in_every_style(attack, control, context, 8)
    memory = attack.process.memory()
    _in_every_style(attack, control, context, times)
    grown = attack.process.memory() - memory
    attack.notes["memory after"] = f"+{grown / KIB:.0f} KiB"
    assert grown < 8 * MIB
    return f"all {len(STYLES) * times} freed at once, without the collector"


@row(
    "connects and closes of every style",
    "memory within 8 MiB of before, descriptors equal, no protocol left",
    options=COUNTED,
)
def test_nothing_is_left_of_connections_that_end_in_every_way(attack: Attack) -> str:
    return _nothing_is_left(attack, None, 10_000 // len(STYLES) + 1 if attack.full else 10)


@row(
    "the same over TLS",
    "the same",
    options=COUNTED,
    tls=True,
)
def test_nothing_is_left_of_them_over_tls(attack: Attack) -> str:
    context = ssl.create_default_context(cafile=str(attack.certificate))
    return _nothing_is_left(attack, context, 40 if attack.full else 4)


def _together(attack: Attack, count: int, request: bytes = REQUEST) -> list[socket.socket]:
    """Open `count` connections that all send their request before any is answered."""
    roomy(attack)
    peers = [attack.socket() for _ in range(count)]
    for peer in peers:
        peer.sendall(request)
    return peers


def _head(peer: socket.socket) -> bytes:
    octets = b""
    while b"\r\n\r\n" not in octets:
        more = peer.recv(4096)
        assert more, octets
        octets += more
    return octets


@row("1,000 connections at once", "all served, memory + 24 MiB", options=ROOMY, memory=24 * MIB)
def test_a_thousand_connections_at_once_are_all_served(attack: Attack) -> str:
    began = time.monotonic()
    peers = _together(attack, 1000)
    assert all(_head(peer).startswith(b"HTTP/1.1 101 ") for peer in peers)
    attack.notes["opened in"] = f"{time.monotonic() - began:.1f} s"
    for peer in peers:
        peer.sendall(GOODBYE)
    assert all(read_all(peer).endswith(b"\x88\x02\x03\xe8") for peer in peers)
    return "all served"


def _spoken_on(attack: Attack, count: int, request: bytes, message: bytes) -> None:
    """Open `count` connections that got their echo, and are idle since."""
    peers = _together(attack, count, request)
    for peer in peers:
        _head(peer)
        peer.sendall(message)
    for peer in peers:
        assert peer.recv(100)


def _resident(attack: Attack, request: bytes, message: bytes) -> float:
    """Octets of resident memory for each of many idle connections."""
    count = 2000 if attack.full else 500
    _spoken_on(attack, 200, request, message)
    before = attack.process.memory()
    _spoken_on(attack, count, request, message)
    each = (attack.process.memory() - before) / count
    attack.notes["each"] = f"{each / 1000:.1f} kB"
    return each


# The collector is off in both: its pause grows with all that is alive, and is no
# connection's doing.
@row("idle connections, 2,000 of them", "12 kB each", options=(*COUNTED, *ROOMY), memory=40 * MIB)
def test_an_idle_connection_takes_little_memory(attack: Attack) -> str:
    each = _resident(attack, REQUEST, frame(TEXT, b"hi"))
    assert each <= 12_000, each
    return "served"


@row(
    "idle connections that asked with 94 headers, 2,000 of them",
    "12 kB each",
    options=(*COUNTED, *ROOMY),
    memory=40 * MIB,
)
def test_an_idle_connection_with_many_headers_takes_little_memory(attack: Attack) -> str:
    headers = b"".join(b"X-Header-%d: %s\r\n" % (number, b"v" * 150) for number in range(89))
    each = _resident(attack, REQUEST[:-2] + headers + b"\r\n", frame(TEXT, b"hi"))
    assert each <= 12_000, each
    return "served"


@row(
    "idle connections with compression, 2,000 of them",
    "50 kB each",
    options=("--compression", "on", *COUNTED, *ROOMY),
    memory=120 * MIB,
)
def test_an_idle_connection_that_compresses_takes_little_memory(attack: Attack) -> str:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    deflate = zlib.compressobj(wbits=-12)
    text = deflate.compress(b"to be compressed") + deflate.flush(zlib.Z_SYNC_FLUSH)
    message = b"\xc1" + frame(TEXT, text[:-4])[1:]
    each = _resident(attack, REQUEST[:-2] + offer, message)
    assert each <= 50_000, each
    return "served"
