"""Random octets, over TCP."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

from ..integration.processes import Programs
from ..integration.wire import Host
from .harness import MIB, Attack, row
from .styles import REQUEST, read_all

SIZE = 100_000


@row(
    "random octets after a good handshake",
    "a close; memory + 4 MiB",
    memory=4 * MIB,
)
def test_random_octets_harm_no_server(attack: Attack) -> str:
    count = 200 if attack.full else 40
    for seed in range(count):
        chosen = random.Random(seed)
        peer = attack.socket()
        peer.sendall(REQUEST)
        assert peer.recv(1000).startswith(b"HTTP/1.1 101 ")
        octets = bytearray(chosen.randbytes(SIZE))
        # What is not masked is refused at once: half of them get further.
        if seed % 2:
            octets[:2] = (0x82, 0x80 | chosen.randrange(126))
        with suppress(ConnectionError):
            peer.sendall(octets)
        peer.shutdown(socket.SHUT_WR)
        read_all(peer)
    return f"a close, {count} times"


def test_random_octets_harm_no_client(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    try:
        for seed in range(3):
            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(20)
                port = server.getsockname()[1]
                client = programs.client(f"ws://127.0.0.1:{port}/")
                accepted, _ = server.accept()
                with accepted:
                    host = Host(accepted).accept()
                    with suppress(ConnectionError):
                        host.socket.sendall(random.Random(seed).randbytes(SIZE))
                        host.socket.shutdown(socket.SHUT_WR)
                        read_all(accepted)
                # Lost, or closed with a code: as it says in its help.
                assert client.wait() in (6, 8)
                assert "Traceback" not in client.stdout.text + client.stderr.text
    finally:
        programs.end()
