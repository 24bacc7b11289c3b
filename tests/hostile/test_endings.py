"""Connections that the peer will not let end, or does not use: over in time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from .harness import MIB, Attack, row
from .peer import BINARY, CLOSE, PING, TEXT, Exchange, code_of, frames_of, masked, until
from .processes import KIB

_CLOSE = masked(CLOSE, b"\x03\xe8")


_IMPATIENT = ("--ping-interval", "1", "--ping-timeout", "1", "--close-timeout", "1")
_SHORT = ("--close-timeout", "2", "--handshake-timeout", "2")


def _timeout(attack: Attack) -> int:
    return 5 if attack.full else 2


def _longest(attack: Attack) -> float:
    """Seconds within which a connection has to be over."""
    return _timeout(attack) + attack.slack


def _over(attack: Attack, descriptors: int, seconds: float) -> str:
    """How long it takes until the server has let go."""
    took = until(lambda: attack.process.descriptors() <= descriptors, seconds)
    return f"{took:.1f} of {seconds:g} s"


@row(
    "never answers close, silent or sending on",
    "dropped within `--close-timeout` (5 s)",
    memory=MIB,
    behaviour="Push",
    short=_SHORT,
)
def test_who_never_answers_close_is_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    silent, chatty = attack.connect(), attack.connect()
    for each in (silent, chatty):
        each.send("close")
        assert each.receive_close().code == 1000
    began = time.monotonic()
    sending = Exchange(chatty.socket, masked(TEXT, b"not yet"), masked(TEXT, b"not yet"))
    while not sending.over:
        assert time.monotonic() - began < _longest(attack)
        sending.turn()
        time.sleep(0.01)
    attack.notes["dropped within"] = f"{time.monotonic() - began:.1f} of {_longest(attack):g} s"
    _over(attack, before, _longest(attack) - (time.monotonic() - began))
    return "dropped"


@row(
    "closes while much is queued, and reads nothing",
    "dropped within `--close-timeout` (5 s)",
    memory=2 * MIB,
    behaviour="Push",
    short=_SHORT,
)
def test_who_closes_while_much_is_queued_is_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    wire = attack.connect(receive_buffer=16 * KIB)
    wire.send(f"fill {64 * KIB}")
    attack.told()
    wire.socket.sendall(_CLOSE)
    began = time.monotonic()
    attack.notes["dropped within"] = _over(attack, before, _longest(attack))
    assert time.monotonic() - began > _timeout(attack) - 1, "nothing was queued"
    return "dropped"


@row(
    "closes, or does not, while more is queued than is read beside",
    "dropped within `--ping-interval` + `--ping-timeout` + `--close-timeout` (here 1 s each)",
    memory=4 * MIB,
    options=_IMPATIENT,
)
def test_who_reads_nothing_is_dropped_whatever_it_says(attack: Attack) -> str:
    before = attack.process.descriptors()
    for ending in (b"", _CLOSE):
        wire = attack.connect(receive_buffer=16 * KIB)
        wire.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(400):
                wire.socket.sendall(masked(BINARY, bytes(64 * KIB)))
            raise AssertionError("all was taken")
        with contextlib.suppress(TimeoutError):
            wire.socket.sendall(ending)
    attack.notes["dropped within"] = _over(attack, before, 3 + attack.slack)
    return "dropped"


@row(
    "closes while much is queued, and reads it",
    "gets all of it, and the close frame",
    memory=4 * MIB,
)
def test_who_closes_while_much_is_queued_gets_all_of_it(attack: Attack) -> str:
    wire = attack.connect(receive_buffer=16 * KIB)
    wire.socket.sendall(masked(BINARY, bytes(64 * KIB)) * 20 + _CLOSE)
    time.sleep(0.5)
    received = wire.rest()
    assert [len(payload) for _, payload in frames_of(received)] == [64 * KIB] * 20 + [2]
    assert code_of(received) == 1000
    return "all of it"


@row(
    "keeps TCP open after close",
    "dropped within `--close-timeout` (5 s)",
    memory=MIB,
    short=_SHORT,
)
def test_who_keeps_tcp_open_after_close_is_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    wires = [attack.connect() for _ in range(3)]
    for wire, octets in zip(wires, (_CLOSE, masked(3), _CLOSE + masked(PING) * 1000), strict=True):
        wire.socket.sendall(octets)
    attack.notes["dropped within"] = _over(attack, before, _longest(attack))
    assert [wire.receive_close().code for wire in wires] == [1000, 1002, 1000]
    return "dropped"


@row(
    "over TLS: stalls in the TLS handshake",
    "dropped within `--handshake-timeout` (5 s) + 1 s",
    memory=2 * MIB,
    tls=True,
    short=_SHORT,
)
def test_who_stalls_in_the_tls_handshake_is_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    hello = ssl.MemoryBIO()
    client = attack.context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    octets = hello.read()
    for size in (0, 1, len(octets) // 2, len(octets)):
        attack.socket(tls=True).sendall(octets[:size])
    until(lambda: attack.process.descriptors() >= before + 4, _longest(attack))
    attack.notes["dropped within"] = _over(attack, before, _longest(attack))
    return "dropped"


@row(
    "over TLS: never sends close_notify, reading or not",
    "dropped within `--close-timeout` (5 s) + 1 s",
    memory=4 * MIB,
    tls=True,
    short=_SHORT,
)
def test_who_never_sends_close_notify_is_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    reading, deaf, rude = (
        attack.connect(tls=True, receive_buffer=16 * KIB).socket for _ in range(3)
    )
    reading.sendall(_CLOSE)
    assert CLOSE in reading.recv(100)
    deaf.sendall(masked(BINARY, bytes(64 * KIB)) * 14 + _CLOSE)
    rude.sendall(masked(3))
    attack.notes["dropped within"] = _over(attack, before, _longest(attack))
    assert b"\x88" in rude.recv(1000)
    return "dropped"


@row(
    "goes silent (no FIN)",
    "ping, then 1011 after `--ping-timeout`, dropped after `--close-timeout` (here 1 s each)",
    memory=MIB,
    options=_IMPATIENT,
)
def test_who_goes_silent_is_pinged_told_and_dropped(attack: Attack) -> str:
    before = attack.process.descriptors()
    silent, quiet = attack.connect(), attack.connect()
    began = time.monotonic()
    received, over = b"", 0.0
    quiet.socket.settimeout(0.1)
    answered = 0
    while not over or time.monotonic() - began < 3.5:
        assert time.monotonic() - began < 8
        try:
            for first, payload in frames_of(quiet.socket.recv(1000)):
                assert first == PING
                quiet.socket.sendall(masked(0x8A, payload))
                answered += 1
        except TimeoutError:
            pass
        if not over:
            received, over = _look(silent.socket, received, began)
    assert [first for first, _ in frames_of(received)] == [PING, CLOSE]
    assert code_of(received) == 1011
    assert over < 2 + attack.slack
    # One that says nothing of its own, but answers, lives on.
    assert answered >= 2
    quiet.socket.settimeout(20)
    quiet.send("here")
    assert quiet.receive() == "here"
    attack.notes["dropped within"] = f"{over:.1f} of {2 + attack.slack:g} s"
    _over(attack, before + 1, 1 + attack.slack)
    return "a ping, then 1011, then dropped"


def _look(connection: socket.socket, received: bytes, began: float) -> tuple[bytes, float]:
    """Return all octets received, and the time of the end, 0 before the end."""
    connection.setblocking(False)
    try:
        chunk = connection.recv(1000)
    except BlockingIOError:
        return received, 0.0
    except ConnectionResetError:
        chunk = b""
    return received + chunk, 0.0 if chunk else time.monotonic() - began
