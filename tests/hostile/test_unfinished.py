"""Messages that begin and do not end: bounded in time, and all of them together in memory."""

from __future__ import annotations

import select
import time

from ..integration.wire import Closed, Wire
from .harness import MIB, Attack, row
from .peer import BINARY, DEFLATE, deflated, masked, until
from .rooms import ROOMY, roomy

_SHORT = masked(BINARY, bytes(MIB))[:-1]
"""A message of the largest size, without its last octet."""

_ROOM = 48
"""MiB that there are for all of them."""


def _closed(wires: list[Wire]) -> list[int | None]:
    """The codes with which the server closed some of them, so far."""
    ready, _, _ = select.select([wire.socket for wire in wires], [], [], 0)
    ended = [wire for wire in wires if wire.socket in ready]
    for wire in ended:
        wires.remove(wire)
    return [wire.receive_close().code for wire in ended]


@row(
    "a message one octet short on each of 300 connections",
    f"1008 to the oldest once `--memory-for-messages` (here {_ROOM} MiB) is full; memory three"
    " times that; another client's message of the largest size still arrives; 20 ms",
    options=("--memory-for-messages", f"{_ROOM}MiB", *ROOMY),
    memory=3 * _ROOM * MIB,
    turn=0.02,
)
def test_messages_one_octet_short_share_one_memory(attack: Attack) -> str:
    roomy(attack)
    count = 300 if attack.full else 150
    wires = [attack.connect() for _ in range(count)]
    codes: list[int | None] = []
    for wire in list(wires):
        wire.socket.sendall(_SHORT)

    def enough_are_closed() -> bool:
        codes.extend(_closed(wires))
        return len(codes) >= count - _ROOM

    until(enough_are_closed, 10 + attack.slack)
    honest = attack.connect()
    honest.socket.sendall(_SHORT + b"\0")
    assert honest.receive() == bytes(MIB)
    codes += _closed(wires)
    assert set(codes) == {1008}
    return f"1008 to {len(codes)} of {count}"


@row(
    "a header, a frame, fragments or a compressed frame that do not end, with pings between",
    "1008 within `--message-timeout` (here 1 s) + 1 s",
    options=("--message-timeout", "1s", "--compression", "on"),
    memory=4 * MIB,
)
def test_a_message_that_does_not_end_is_closed(attack: Attack) -> str:
    compressed = masked(0xC2, deflated(bytes(range(256)) * 300))
    whole = masked(BINARY, b"begun")
    beginnings = [_SHORT[:5], _SHORT[:100_000], whole[:-1], compressed[:-1]]
    longest = 0.0
    for beginning in [*beginnings, masked(0x02, b"begun") + masked(0x89) + masked(0, b"on")]:
        wire = attack.connect(headers=DEFLATE)
        began = time.monotonic()
        wire.socket.sendall(beginning)
        assert wire.receive_close() == Closed(1008, "a message was not whole within 1 s")
        took = time.monotonic() - began
        assert 1.0 <= took <= 2.0 + attack.slack, took
        longest = max(longest, took)
    attack.notes["closed within"] = f"{longest:.1f} of 2 s"
    return "1008"
