"""More than the limits allow: refused at the first octet that proves it."""

from __future__ import annotations

import struct

from .harness import MIB, Attack, row


@row(
    "a frame over `--max-message-size` by its length field, 2^62 too",
    "1009 at the header, memory + 2 MiB",
    memory=2 * MIB,
)
def test_a_length_over_the_limit_is_refused_at_the_header(attack: Attack) -> str:
    for first in (0x81, 0x82, 0x01, 0x02):
        for size in (MIB + 2, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1):
            wire = attack.connect()
            wire.socket.sendall(bytes((first, 0xFF)) + struct.pack("!Q", size) + b"mask")
            assert wire.receive_close().code == 1009, (first, size)
    return "1009"
