"""More of what is allowed than anybody needs: served, in slices, within bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .harness import MIB, Attack, row
from .peer import BINARY, DEFLATE, PING, PONG, TEXT, blast, deflated, frames_of, masked


@row(
    "flood of pings, read or not",
    "pongs coalesced, never queued past `--send-buffer`; memory + 4 MiB",
    memory=4 * MIB,
)
def test_a_flood_of_pings_is_answered_within_bounds(attack: Attack) -> str:
    seconds = 6.0 if attack.full else 1.5
    octets = masked(PING, bytes(125)) * 500
    reader, deaf = attack.connect(), attack.connect()
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(blast, reader.socket, octets, seconds, True)
        unread = pool.submit(blast, deaf.socket, octets, seconds, False)
        times, received = read.result()
        sent, _ = unread.result()
    assert times > 0
    assert received > 0
    attack.notes["pings"] = f"{500 * (times + sent)}"
    # Still there, and answered: with the last one, or with each.
    reader.socket.sendall(masked(PING, b"the last"))
    seen = b""
    while b"the last" not in seen:
        seen = seen[-200:] + reader.socket.recv(1 << 20)
    return "pongs"


def _flood(attack: Attack, octets: bytes, messages: int, echoed: int, tls: bool = False) -> str:
    seconds = 6.0 if attack.full else 1.5
    wire = attack.connect(tls=tls)
    cpu = attack.process.cpu()
    times, received = blast(wire.socket, octets, seconds, True, echoed)
    expected = times * echoed
    while received < expected:
        chunk = wire.socket.recv(1 << 20)
        assert chunk, "ended before all was served"
        received += len(chunk)
    assert received == expected
    attack.notes["frames"] = f"{times * messages}"
    each = 1e6 * (attack.process.cpu() - cpu) / (times * messages)
    attack.notes["CPU for each"] = f"{each:.1f} microseconds"
    wire.send("still there")
    assert wire.receive() == "still there"
    return "served"


@row("flood of pongs", "served, in slices", memory=2 * MIB)
def test_a_flood_of_pongs_is_served_in_slices(attack: Attack) -> str:
    return _flood(attack, masked(PONG) * 9_999 + masked(PING), 10_000, 2)


@row("flood of empty messages, in full-size reads", "served, in slices", memory=2 * MIB)
def test_a_flood_of_empty_messages_is_served_in_slices(attack: Attack) -> str:
    return _flood(attack, masked(TEXT) * 10_000, 10_000, 20_000)


@row("flood of one-octet messages, in full-size reads", "served, in slices", memory=2 * MIB)
def test_a_flood_of_one_octet_messages_is_served_in_slices(attack: Attack) -> str:
    return _flood(attack, masked(BINARY, b"a") * 10_000, 10_000, 30_000)


@row("flood of one-octet messages over TLS", "served, in slices", memory=4 * MIB, tls=True)
def test_a_flood_of_one_octet_messages_over_tls_is_served_in_slices(attack: Attack) -> str:
    return _flood(attack, masked(BINARY, b"a") * 10_000, 10_000, 30_000, tls=True)


@row("flood of one-octet messages in two fragments each", "served, in slices", memory=2 * MIB)
def test_a_flood_of_tiny_fragmented_messages_is_served_in_slices(attack: Attack) -> str:
    return _flood(attack, (masked(0x02, b"a") + masked(0x80)) * 5_000, 10_000, 15_000)


def _dribble(attack: Attack, octets: bytes, step: int) -> tuple[float, int]:
    """Send octets a few at a time: the server's CPU seconds, and the frames that came back."""
    wire = attack.connect()
    cpu = attack.process.cpu()
    for start in range(0, len(octets), step):
        wire.socket.sendall(octets[start : start + step])
    payload = wire.receive()
    took = attack.process.cpu() - cpu
    assert isinstance(payload, bytes)
    wire.end()
    return took, len(payload)


@row(
    "octets dribbled into one large frame, whole or a fragment",
    "served; eight times the octets take no more than 16 times the CPU; memory + 6 MiB",
    memory=6 * MIB,
)
def test_octets_dribbled_into_a_large_frame_take_linear_time(attack: Attack) -> str:
    # Far enough apart that what is linear (8) and what is not (64) cannot be taken
    # for each other, however noisy the machine.
    step = 8
    ratios = []
    for first, end in ((BINARY, b""), (0x02, masked(0x80))):
        took: dict[int, float] = {}
        # What came together is read together: of the cheap ones the dearest tells the most.
        for count in (MIB // 8, MIB // 8, MIB // 8, MIB):
            seconds, received = _dribble(attack, masked(first, bytes(count)) + end, step)
            assert received == count
            took[count] = max(seconds, took.get(count, 0))
        ratios.append(took[MIB] / took[MIB // 8])
        assert ratios[-1] < 16, took
    attack.notes["8 times the octets"] = " and ".join(
        f"{each:.1f} times the CPU" for each in ratios
    )
    return "served"


@row(
    "flood of compressed text that inflates to exactly the limit",
    "served; memory + 6 MiB; a message is inflated, checked and deflated at one go: 20 ms",
    memory=6 * MIB,
    turn=0.020,
    options=("--compression", "on"),
)
def test_a_flood_of_text_that_inflates_to_the_limit_is_served_in_slices(attack: Attack) -> str:
    wire = attack.connect(headers=DEFLATE)
    count = 100 if attack.full else 20
    message = masked(0xC1, deflated("e\u0301".encode() * (MIB // 3) + b"a"))
    cpu = attack.process.cpu()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(wire.socket.sendall, message * count)
        received = b""
        while len(list(frames_of(received))) < count:
            chunk = wire.socket.recv(1 << 20)
            assert chunk, "ended before all was served"
            received += chunk
        sending.result()
    assert {first for first, _ in frames_of(received)} == {0xC1}
    attack.notes["CPU for each"] = f"{1000 * (attack.process.cpu() - cpu) / count:.1f} ms"
    return "served"
