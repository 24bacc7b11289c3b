"""More than the limits allow: refused at the first octet that proves it."""

from __future__ import annotations

import os
import random
import struct
import zlib

from ..integration.wire import Wire
from .harness import MIB, Attack, row
from .peer import BINARY, DEFLATE, Exchange, code_of, deflated, exchange, frames_of, masked


def _closed_with(wire: Wire, octets: bytes) -> int | None:
    """Send these octets, and return the code of the close frame that follows."""
    each = Exchange(wire.socket, octets, b"")
    while not each.over and code_of(each.received) is None:
        _turn(each)
    return code_of(each.received)


def _turn(each: Exchange) -> None:
    """A turn, unless there were many without an answer."""
    assert each.took < 8, "no answer"
    each.turn()


@row(
    "a frame over `--max-message-size` by its length field, 2^62 too",
    "1009 at the header, memory + 2 MiB",
    memory=2 * MIB,
    options=("--compression", "on"),
)
def test_a_length_over_the_limit_is_refused_at_the_header(attack: Attack) -> str:
    for headers in ("", DEFLATE):
        for first in (0x81, 0x82, 0x01, 0x02):
            for size in (MIB + 1, MIB + 2, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1):
                wire = attack.connect(headers=headers)
                octets = bytes((first, 0xFF)) + struct.pack("!Q", size) + b"mask"
                assert _closed_with(wire, octets) == 1009, (first, size)
    wire = attack.connect(headers=DEFLATE)
    assert _closed_with(wire, b"\xc2\xff" + struct.pack("!Q", 1 << 62) + b"mask") == 1009
    return "1009 at the header"


@row(
    "a message over `--max-message-size` by fragments, also after inflation",
    "1009 at the first octet that proves it, memory + 2 MiB",
    memory=2 * MIB,
    options=("--compression", "on"),
)
def test_a_message_over_the_limit_is_refused_before_it_is_whole(attack: Attack) -> str:
    piece = bytes(MIB // 8)
    fragments = masked(0x02, piece) + masked(0, piece) * 7
    # Exactly the limit, and the header of one octet more.
    assert _closed_with(attack.connect(), fragments + masked(0, b"a")[:6]) == 1009
    machine = zlib.compressobj(wbits=-12)
    packed = [
        machine.compress(os.urandom(MIB // 16) + bytes(MIB // 16))
        + machine.flush(zlib.Z_SYNC_FLUSH)
        for _ in range(8)
    ]
    octets = b"".join(masked(0 if at else 0x42, each) for at, each in enumerate(packed))
    octets += masked(0, machine.compress(b"a") + machine.flush(zlib.Z_SYNC_FLUSH))
    assert _closed_with(attack.connect(headers=DEFLATE), octets) == 1009
    return "1009"


@row(
    "endless empty or tiny fragments",
    "1008 at the first fragment beyond `--max-fragments` (1,024); memory + 1 MiB",
    memory=MIB,
)
def test_endless_fragments_end_at_the_first_beyond_the_limit(attack: Attack) -> str:
    for payload in (b"", b"a"):
        fragments = masked(0x01, payload) + masked(0, payload) * 1023
        wire = attack.connect()
        wire.socket.sendall(fragments + masked(0x80))
        assert wire.receive() == (payload * 1024).decode()
        assert _closed_with(attack.connect(), fragments + masked(0, payload)) == 1008
        endless = Exchange(attack.connect().socket, fragments, masked(0, payload) * 1000)
        while code_of(endless.received) is None:
            _turn(endless)
        assert code_of(endless.received) == 1008
    return "1008"


_LIMIT = 100_000


@row(
    "a message one octet over the limit, plain and compressed, by every overshoot from 1 to 200",
    "1009; one of exactly the limit arrives whole; nothing is ever delivered cut short",
    memory=4 * MIB,
    options=("--compression", "on", "--max-message-size", str(_LIMIT)),
)
def test_one_octet_over_the_limit_is_refused_and_the_limit_arrives(attack: Attack) -> str:
    chance = random.Random(4)
    noise = chance.randbytes(_LIMIT + 200)
    digits = "".join(chance.choices("0123456789", k=_LIMIT + 200)).encode()
    kinds = {"zeros": bytes(_LIMIT + 200), "digits": digits, "noise": noise}
    for name, octets in kinds.items():
        if not attack.full and name == "digits":
            continue
        payload = octets[:_LIMIT]
        packed = deflated(payload)
        half = len(packed) // 2
        for sent in (
            masked(BINARY, payload),
            masked(0x02, payload[:5]) + masked(0x80, payload[5:]),
            masked(0xC2, packed),
            masked(0x42, packed[:half]) + masked(0x80, packed[half:]),
        ):
            wire = attack.connect(headers=DEFLATE.replace("=12", "=12; server_no_context_takeover"))
            wire.socket.sendall(sent)
            assert _inflated(wire) == payload, f"{name} of exactly the limit"
            wire.end()
        for over in range(1, 201):
            payload = octets[: _LIMIT + over]
            ways = [masked(0xC2, deflated(payload))]
            if name == "zeros":
                ways += [masked(BINARY, payload), masked(0x02, payload[:-1]) + masked(0x80, b"a")]
            for sent in ways:
                wire = attack.connect(headers=DEFLATE)
                each = Exchange(wire.socket, sent, b"")
                while code_of(each.received) is None:
                    _turn(each)
                assert code_of(each.received) == 1009, (name, over)
                assert [first for first, _ in frames_of(each.received)] == [0x88], (name, over)
                wire.end()
    return "1009, or the whole message"


def _inflated(wire: Wire) -> bytes:
    """The next message, which is compressed."""
    received = b""
    while True:
        for first, payload in frames_of(received):
            assert first == 0xC2, (hex(first), payload[:80])
            return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        chunk = wire.socket.recv(1 << 20)
        assert chunk, "ended without an answer"
        received += chunk


@row(
    "unknown or wrong permessage-deflate parameters",
    "101 without the extension",
    memory=MIB,
    options=("--compression", "on"),
)
def test_wrong_parameters_of_compression_do_without_it(attack: Attack) -> str:
    wrong = [
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=a",
        'permessage-deflate; client_max_window_bits="\u00b2"',
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=99999999999999999999",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=yes",
        "permessage-bzip2",
        "x-webkit-deflate-frame",
        "permessage-snappy; nothing",
    ]
    for offer in wrong:
        wire = attack.connect(headers=f"Sec-WebSocket-Extensions: {offer}\r\n")
        assert wire.status == 101, offer
        assert "extensions" not in wire.head.lower(), offer
        wire.send("served")
        assert wire.receive() == "served", offer
    return f"101 without the extension, in each of {len(wrong)} cases"


def _bomb(pieces: int) -> list[bytes]:
    """Return `pieces` MiB of zeros, each compressed as a piece of its own."""
    machine = zlib.compressobj(9, wbits=-12)
    machine.compress(b"a")
    machine.flush(zlib.Z_FULL_FLUSH)
    piece = machine.compress(bytes(MIB)) + machine.flush(zlib.Z_FULL_FLUSH)
    return [piece] * pieces


@row(
    "compression bomb, 1 GiB of zeros in 1 MiB, one frame or many",
    "1009; inflated no further than the limit: memory + 3 MiB",
    memory=3 * MIB,
    options=("--compression", "on"),
)
def test_a_compression_bomb_is_inflated_no_further_than_the_limit(attack: Attack) -> str:
    pieces = _bomb(1024)
    whole = b"".join(pieces)
    attack.notes["the bomb has"] = f"{len(whole) / MIB:.1f} MiB"
    small = whole[: MIB // 2]
    many = b"".join(masked(0 if at else 0x42, each) for at, each in enumerate(pieces))
    cpu = attack.process.cpu()
    for sent in (masked(0xC2, whole), masked(0xC2, small), masked(0xC1, small), many):
        wire = attack.connect(headers=DEFLATE)
        each = Exchange(wire.socket, sent, b"")
        exchange([each], 8)
        assert code_of(each.received) == 1009
    attack.notes["CPU for each"] = f"{250 * (attack.process.cpu() - cpu):.0f} ms"
    return "1009"


_HELLO_FINAL = b"\xf3\x48\xcd\xc9\xc9\x07\x00"


@row(
    "final blocks (BFINAL = 1) without end in a compressed message, and large messages after one",
    "1008 after some 1,024 of them; what comes after one is read, and costs what it did before it",
    memory=4 * MIB,
    options=("--compression", "on"),
)
def test_final_blocks_are_bounded_and_the_next_stream_is_read(attack: Attack) -> str:
    wire = attack.connect(headers=DEFLATE)
    each = Exchange(wire.socket, masked(0xC2, b"\x03\x00" * (MIB // 2)), b"")
    exchange([each], 8)
    assert code_of(each.received) == 1008
    machine = zlib.compressobj(0, wbits=-12)
    large = machine.compress(bytes(MIB - 1024)) + machine.flush(zlib.Z_FINISH) + b"\0"
    cpu = attack.process.cpu()
    wire = attack.connect(headers=DEFLATE)
    wire.socket.sendall(masked(0xC1, _HELLO_FINAL + b"\0"))
    inflater = zlib.decompressobj(-15)
    _, answer = wire._frame()
    assert inflater.decompress(answer + b"\0\0\xff\xff") == b"Hello"
    for _ in range(8):
        wire.socket.sendall(masked(0xC2, large))
        _, answer = wire._frame()
        assert len(inflater.decompress(answer + b"\0\0\xff\xff")) == MIB - 1024
    attack.notes["CPU for each"] = f"{125 * (attack.process.cpu() - cpu):.0f} ms"
    return "1008, or read"


@row(
    "16 KiB of offered extensions and parameters",
    "1 KiB of them is looked at: CPU for each no more than five times that of a plain handshake",
    memory=MIB,
    options=("--compression", "on"),
)
def test_many_offers_of_extensions_cost_little(attack: Attack) -> str:
    def cpu_of(offers: str, times: int = 60) -> float:
        before = attack.process.cpu()
        for _ in range(times):
            headers = f"Sec-WebSocket-Extensions: {offers}\r\n"
            wire = attack.connect(headers=headers)
            assert "sec-websocket-extensions" in wire.head.lower()
            wire.end()
        return (attack.process.cpu() - before) / times

    first = "permessage-deflate"
    plain = cpu_of(first)
    most = max(cpu_of(first + ", b" + more) for more in (";a" * 7900, ",a" * 7900))
    attack.notes["CPU for each"] = f"{1000 * most:.1f} ms, a plain one {1000 * plain:.1f} ms"
    assert most < 5 * max(plain, 0.0005)
    return "101"
