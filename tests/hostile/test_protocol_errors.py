"""A peer that breaks the protocol gets a close frame, and the connection ends in time."""

from __future__ import annotations

import struct

from .harness import MIB, Attack, row
from .peer import BINARY, CLOSE, PING, PONG, TEXT, Exchange, code_of, exchange, masked

_TIMEOUT = 2

_PROTOCOL_ERRORS = {
    "not masked": b"\x81\x01a",
    "not masked, empty": b"\x82\x00",
    "a control frame that is not masked": b"\x89\x00",
    **{f"reserved bit {bit:#x}": masked(0x81 | bit, b"a") for bit in (0x10, 0x20, 0x40, 0x70)},
    "reserved bit of a ping": masked(0xC9),
    **{f"opcode {each}": masked(0x80 | each, b"a") for each in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping of 126 octets": masked(PING, bytes(126)),
    "a pong of 65,536 octets": masked(PONG, bytes(65536)),
    "a close frame of 126 octets": masked(CLOSE, b"\x03\xe8" + b"a" * 124),
    "a ping of 2^62 octets": b"\x89\xff" + struct.pack("!Q", 1 << 62) + bytes(4),
    "a ping in parts": masked(0x09, b"a") + masked(0x80, b"b"),
    "a close frame in parts": masked(0x08, b"\x03\xe8") + masked(0x80),
    "a continuation of nothing": masked(0x80, b"a"),
    "a message within another": masked(0x01, b"a") + masked(TEXT, b"b"),
    "a length of 2^63": b"\x82\xff" + struct.pack("!Q", 1 << 63) + bytes(4),
    "a length not in its shortest form": b"\x82\xfe\x00\x05" + bytes(9),
    "a length not in its shortest form, of 8": b"\x82\xff" + struct.pack("!Q", 65535) + bytes(9),
    "a close frame of one octet": masked(CLOSE, b"\x03"),
    **{
        f"close code {code}": masked(CLOSE, struct.pack("!H", code))
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}

_NO_TEXT = {
    "an octet that never is": b"\xff",
    "an octet too early": b"\x80",
    "a surrogate": b"\xed\xa0\x80",
    "too long a form": b"\xc0\xaf",
    "beyond the last code point": b"\xf4\x90\x80\x80",
}

_NOT_UTF8 = {
    **{f"{name}": masked(TEXT, b"ab" + each) for name, each in _NO_TEXT.items()},
    **{
        f"{name}, in parts": b"".join(
            masked(0 if at else 1, bytes((octet,))) for at, octet in enumerate(each)
        )
        + masked(0, b"more")
        for name, each in _NO_TEXT.items()
    },
    **{
        f"{name}, in a frame that is not whole": masked(TEXT, each + bytes(900_000))[:-1]
        for name, each in _NO_TEXT.items()
    },
    **{
        f"{name}, in a close reason": masked(CLOSE, b"\x03\xe8" + each)
        for name, each in _NO_TEXT.items()
    },
    "a character cut off": masked(TEXT, b"a\xe2\x82"),
    "a character cut off, in parts": masked(0x01, b"a\xe2") + masked(0x80, b"\x82"),
    "a character cut off, in a close reason": masked(CLOSE, b"\x03\xe8\xe2\x82"),
}


def _refused(attack: Attack, cases: dict[str, bytes], code: int) -> str:
    exchanges = {}
    more = masked(BINARY, bytes(100)) + masked(PING)
    for name, octets in cases.items():
        wire = attack.connect()
        # An answer to what was right comes first.
        exchanges[name] = Exchange(wire.socket, masked(TEXT, b"right") + octets, more)
    exchange(list(exchanges.values()), _TIMEOUT + 8)
    for name, each in exchanges.items():
        assert code_of(each.received) == code, (name, each.received)
        assert each.received.startswith(b"\x81\x05right"), name
        assert each.took < _TIMEOUT + attack.slack, (name, each.took)
    slowest = max(each.took for each in exchanges.values())
    attack.notes["TCP over within"] = f"{slowest:.1f} of {_TIMEOUT + attack.slack:g} s"
    return f"{code} in each of {len(cases)} cases"


@row(
    "unmasked frame, reserved bits and opcodes, long or split control frames, bad close payloads,"
    " while it goes on sending",
    f"1002, the close frame really arrives; TCP over within `--close-timeout` (here {_TIMEOUT} s)",
    options=("--close-timeout", str(_TIMEOUT)),
    memory=4 * MIB,
)
def test_what_breaks_the_protocol_is_told_so(attack: Attack) -> str:
    return _refused(attack, _PROTOCOL_ERRORS, 1002)


@row(
    "bad UTF-8, also over fragments, in frames that are not whole, and in close reasons,"
    " while it goes on sending",
    f"1007, the close frame really arrives; TCP over within `--close-timeout` (here {_TIMEOUT} s)",
    options=("--close-timeout", str(_TIMEOUT)),
    memory=4 * MIB,
)
def test_text_that_is_none_is_told_so(attack: Attack) -> str:
    return _refused(attack, _NOT_UTF8, 1007)
