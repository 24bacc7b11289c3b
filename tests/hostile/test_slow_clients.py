"""The memory for a client that does not read is bounded, and the senders are told."""

from __future__ import annotations

from ..integration.wire import Closed, Wire
from .harness import MIB, Attack, row
from .peer import BINARY, masked
from .processes import KIB
from .rooms import ROOMY, roomy
from .styles import REQUEST

_SIZE = 64 * KIB


def _pushed(attack: Attack, count: int, tls: bool = False) -> tuple[Wire, dict[str, int]]:
    """A peer that has not read what was sent to it, and what the sender was told."""
    wire = attack.connect(receive_buffer=16 * KIB, tls=tls)
    wire.send(f"push {count} {_SIZE}")
    return wire, attack.told()


def _read(wire: Wire) -> tuple[list[int], Closed | None]:
    """The numbers of the messages that there are for it, each of which must be whole."""
    numbers: list[int] = []
    while True:
        message = wire.receive()
        if isinstance(message, Closed):
            return numbers, message
        if message == "end":
            return numbers, None
        assert isinstance(message, bytes)
        assert len(message) == _SIZE
        numbers.append(int.from_bytes(message[:8], "big"))


@row(
    "never reads while 100 MiB are sent to it, `--slow-client close`",
    "closed 1013; `--send-buffer` (1 MiB) + one message wait, memory + 2 MiB; senders are told",
    memory=2 * MIB,
    behaviour="Push",
    options=("--slow-client", "close"),
)
def test_who_never_reads_is_closed(attack: Attack) -> str:
    return _closed(attack, tls=False)


@row(
    "never reads over TLS while 100 MiB are sent to it, `--slow-client close`",
    "closed 1013; `--send-buffer` (1 MiB) + one message wait, memory + 3 MiB; senders are told",
    memory=3 * MIB,
    behaviour="Push",
    options=("--slow-client", "close"),
    tls=True,
)
def test_who_never_reads_over_tls_is_closed(attack: Attack) -> str:
    return _closed(attack, tls=True)


def _closed(attack: Attack, tls: bool) -> str:
    count = 100 * MIB // _SIZE
    wire, figures = _pushed(attack, count, tls)
    assert figures["pauses"] > 0
    assert figures["slow"] == 1, figures
    assert figures["closed"] > 0
    assert sum(figures[each] for each in ("sent", "queued", "slow", "closed")) == count
    numbers, closed = _read(wire)
    assert closed is not None
    assert closed.code == 1013
    assert numbers == list(range(len(numbers)))
    attack.notes["the sender was told"] = f"{figures['slow']} slow, {figures['closed']} closed"
    return "1013"


@row(
    "never reads while 100 MiB are sent to it, `--slow-client drop`",
    "oldest dropped; `--send-buffer` (1 MiB) + one message wait, memory + 2 MiB; senders are told",
    memory=2 * MIB,
    behaviour="Push",
    options=("--slow-client", "drop"),
)
def test_who_never_reads_loses_the_oldest(attack: Attack) -> str:
    count = 100 * MIB // _SIZE
    wire, figures = _pushed(attack, count)
    assert figures["pauses"] > 0
    wire.send("end")
    numbers, closed = _read(wire)
    assert closed is None
    # In order, and the newest.
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == count - 1
    assert len(numbers) < count
    attack.notes["arrived"] = f"{len(numbers)} of {count} messages"
    return "oldest dropped"


@row(
    "never reads the echo of what it sends",
    "not read any more; memory + 2 MiB",
    memory=2 * MIB,
)
def test_who_does_not_read_the_echo_is_not_read(attack: Attack) -> str:
    wire = attack.connect(receive_buffer=16 * KIB)
    wire.socket.settimeout(1)
    sent = 0
    try:
        while sent < 100 * MIB:
            wire.send(bytes(_SIZE))
            sent += _SIZE
    except TimeoutError:
        attack.notes["taken"] = f"{sent / MIB:.1f} MiB"
        return "slowed"
    raise AssertionError("all was taken")


@row(
    "never reads the echo of one-octet messages",
    "not read any more; memory + 2 MiB: what is kept beside each octet counts too",
    memory=2 * MIB,
)
def test_who_does_not_read_tiny_echoes_is_not_read(attack: Attack) -> str:
    wire = attack.connect(receive_buffer=16 * KIB)
    wire.socket.settimeout(3)
    octets = masked(BINARY, b"a") * 10_000
    try:
        for _ in range(1000):
            wire.socket.sendall(octets)
    except TimeoutError:
        return "slowed"
    raise AssertionError("all was taken")


@row(
    "1,000 connections ask for the last messages of a history of 64 MiB, and never read",
    "they wait; a reader gets them; memory + 120 MiB: the history, and twice"
    " `--memory-for-messages` (16 MiB)",
    memory=120 * MIB,
    turn=0.060,
    behaviour="Publishing",
    options=(
        *("--history", "2000,1h", "--memory-for-messages", "16MiB"),
        # On a busy machine it takes long to fill the buffers of the kernel for a thousand.
        *("--handshake-timeout", "60", "--ping-interval", "0"),
        *ROOMY,
    ),
)
def test_who_asks_for_all_and_never_reads_waits(attack: Attack) -> str:
    count = 1000
    writer = attack.connect(path="/past")
    for number in range(count):
        writer.send(number.to_bytes(8, "big") + bytes(_SIZE - 8))
        assert writer.receive() != b""
    roomy(attack)
    values = ("1000000", "1000000", "9" * 100, "%D9%A1", "1&history=1")
    peers = []
    for number in range(count):
        peer = attack.socket(receive_buffer=4 * KIB)
        query = f"/past?history={values[number % len(values)]}"
        peer.sendall(REQUEST.replace(b"/attack", query.encode()))
        peers.append(peer)
    refused = [peer.recv(12) for peer in peers[2::5]]
    assert refused == [b"HTTP/1.1 400"] * len(refused)
    reader = attack.connect(path="/past?history=3")
    last = [reader.receive() for _ in range(3)]
    assert [int.from_bytes(bytes(each)[:8], "big") for each in last] == [997, 998, 999]  # type: ignore[arg-type]
    writer.send(b"new")
    assert reader.receive() == b"new"
    return "waits"
