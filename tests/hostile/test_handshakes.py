"""Opening handshakes as no client should make them: refused, and the answer arrives."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from contextlib import suppress

from ..integration.processes import wait_until
from ..integration.wire import TEXT, frame
from .harness import MIB, Attack, row
from .rooms import ROOMY, roomy
from .styles import GOODBYE, PAGE, REQUEST, read_all

CRLF = b"\r\n"
HOST = b"Host: localhost\r\n"


def with_header(line: bytes) -> bytes:
    """The request with one more header."""
    return REQUEST[:-2] + line + b"\r\n\r\n"


def asked(attack: Attack, octets: bytes, more: int = 0) -> bytes:
    """Send some octets, and return the whole answer.

    Send `more` octets once there is an answer, before it is read.
    """
    peer = attack.socket()
    with contextlib.suppress(ConnectionError):
        peer.sendall(octets)
        if more:
            select.select([peer], [], [], 5)
        for _ in range(more // 16384):
            peer.sendall(b"a" * 16384)
    # A reset would destroy an answer that was not read yet: it must not come before.
    return read_all(peer)


def check(answer: bytes, status: int) -> None:
    """An answer with this status, which tells nothing of the server or of the request.

    Only a refused origin is told what it has asked with, printable, in one line.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    names = [line.partition(b":")[0].lower() for line in head.split(CRLF)[1:]]
    connection = b"upgrade" if status == 426 else b"close"
    assert names.count(b"connection") == (2 if status == 426 else 1), head
    assert b"Connection: " + connection in head
    assert b"Content-Length: %d" % len(body) in head or not body
    assert len(body) < (500 if status == 403 else 300)
    assert body.decode("ascii" if status != 403 else "utf-8").removesuffix("\n").isprintable()
    assert b"server" not in names
    assert b"location" not in names
    secrets = [b"autobahn", b"twisted", b"python", *([] if status == 403 else [b"evil"])]
    assert not any(word in answer.lower() for word in secrets)


def refused(attack: Attack, cases: dict[bytes, int]) -> str:
    """Ask each, as it is and with a client that goes on sending."""
    for octets, status in cases.items():
        for more in (0, MIB // 4):
            try:
                check(asked(attack, octets, more), status)
            except AssertionError as error:
                raise AssertionError(f"{octets[:200]!r}, {more} more: {error}") from None
    said = sorted(set(cases.values()))
    return ", ".join(map(str, said))


@row(
    "handshake trickled octet by octet, 200 at once",
    "dropped after `--handshake-timeout` (here 1 s) + 1 s",
    options=("--handshake-timeout", "1", *ROOMY),
    memory=4 * MIB,
)
def test_a_handshake_that_is_trickled_is_dropped_in_time(attack: Attack) -> str:
    roomy(attack)
    began = time.monotonic()
    peers = {attack.socket(): time.monotonic() for _ in range(200)}
    longest = 0.0
    position = 0
    while peers and time.monotonic() - began < 10:
        for peer in list(peers):
            try:
                peer.sendall(REQUEST[position : position + 1])
                ended = bool(select.select([peer], [], [], 0)[0]) and not peer.recv(100)
            except ConnectionError:
                ended = True
            if ended:
                longest = max(longest, time.monotonic() - peers.pop(peer))
        position += 1
        assert position < len(REQUEST) - 4
        time.sleep(0.05)
    assert not peers
    assert longest < 1 + attack.slack
    attack.notes["dropped after"] = f"{longest:.2f} s"
    return "dropped"


@row(
    "header without end; over 16 KiB; over 100 headers; 300,000 headers",
    "431, `Connection: close`, memory + 1 MiB",
    memory=MIB,
)
def test_a_header_without_measure_is_refused(attack: Attack) -> str:
    begin = REQUEST[:-2]
    cases = {
        begin + b"X: " + b"x" * 20_000: 431,
        begin + (b"X: " + b"x" * 1000 + CRLF) * 17: 431,
        begin + b"X: y\r\n" * 101 + CRLF: 431,
        begin + b"X: y\r\n" * 300_000 + CRLF: 431,
        b"GET /" + b"x" * 10_000: 414,
    }
    got = refused(attack, cases)
    cpu = attack.process.cpu()
    for _ in range(20):
        asked(attack, begin + b"X: y\r\n" * 300_000)
    attack.notes["CPU for each"] = f"{1000 * (attack.process.cpu() - cpu) / 20:.1f} ms"
    return got


@row("header octets, lines and names that can be read in two ways", "400")
def test_what_can_be_read_in_two_ways_is_refused(attack: Attack) -> str:
    inside = [b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x7f", b"\r", b"\n", b"\0"]
    lines = [b"X: a%cOrigin: https://evil.example" % each for each in inside]
    lines += [
        b"X: a\r\n folded",
        b"X : a",
        b"no colon",
        b": a",
        b"X\xff: a",
        b"Host: evil.example",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Origin: http://localhost\r\nOrigin: http://localhost",
        b"Content-Length: 5",
        b"Content-Length: 0\r\nContent-Length: 0",
        b"Transfer-Encoding: chunked",
    ]
    cases = {with_header(line): 400 for line in lines}
    # A part of a value, and no line end to anybody: the origin is not seen.
    peer = attack.socket()
    peer.sendall(with_header(b"X: a\x85Origin: https://evil.example"))
    assert peer.recv(1000).startswith(b"HTTP/1.1 101 ")
    cases[REQUEST.replace(HOST, b"")] = 400
    cases[REQUEST.replace(HOST, b"Host: a b\r\n")] = 400
    cases[REQUEST.replace(CRLF, b"\n")] = 400
    return refused(attack, cases)


@row(
    "other methods, versions and targets; octets before the 101; wrong or missing headers",
    "a proper 4xx or 5xx: no traceback, no version, no redirect",
)
def test_what_is_no_opening_handshake_is_refused(attack: Attack) -> str:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    version = b"Sec-WebSocket-Version: 13\r\n"
    methods = [b"POST", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"CONNECT", b"TRACE"]
    cases = {REQUEST.replace(b"GET", method, 1): 405 for method in methods}
    cases |= {REQUEST.replace(b"GET", method, 1): 501 for method in (b"get", b"BREW")}
    cases[REQUEST.replace(b"GET", b"HEAD", 1)] = 426
    cases |= {REQUEST.replace(b"HTTP/1.1", each, 1): 505 for each in (b"HTTP/1.0", b"HTTP/1.2")}
    targets = [b"http://evil.example/", b"*", b"evil.example:80", b"/a#b", b"/\xff", b"/a b"]
    cases |= {REQUEST.replace(b"/attack", target, 1): 400 for target in targets}
    cases |= {
        b"GET /\r\n\r\n": 400,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 505,
        b"\r\n" + REQUEST: 400,
        b"\x80\x00" + REQUEST: 400,
        REQUEST.replace(b"/attack", b"/" + b"x" * 9000): 414,
        REQUEST + frame(TEXT, b"early"): 400,
        REQUEST + REQUEST: 400,
        REQUEST.replace(b"Upgrade: websocket", b"Upgrade: h2c"): 426,
        REQUEST.replace(b"Upgrade: websocket\r\n", b""): 426,
        REQUEST.replace(b"Connection: Upgrade", b"Connection: keep-alive"): 400,
        REQUEST.replace(b"Connection: Upgrade\r\n", b""): 400,
        REQUEST.replace(version, b""): 426,
        REQUEST.replace(version, b"Sec-WebSocket-Version: 8\r\n"): 426,
        REQUEST.replace(key, b""): 400,
        REQUEST.replace(key, b"Sec-WebSocket-Key: short\r\n"): 400,
    }
    got = refused(attack, cases)
    assert b"Sec-WebSocket-Version: 13" in asked(attack, REQUEST.replace(version, b""))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508)
    assert asked(attack, hello) == b""
    return f"{got}; TLS on the plain port: no answer"


@row("origins that are not allowed", "403, before the upgrade")
def test_a_foreign_origin_is_refused(attack: Attack) -> str:
    origins = [
        *("null", "file://", "", "localhost", "http://", "http://localhost.evil.example"),
        *("http://localhost:81", "https://evil.example", "http://localhost@evil.example"),
        *(
            "http://evil.example#localhost",
            "http://localhost/",
            "http://localhost,http://localhost",
        ),
        *(
            "chrome-extension://localhost",
            "http://local\xa0host",
            "http://LOCALHOST.",
            "//localhost",
        ),
    ]
    cases = {with_header(b"Origin: " + each.encode("latin-1")): 403 for each in origins}
    got = refused(attack, cases)
    for allowed in (b"http://localhost", b"https://LOCALHOST", b"http://localhost:80"):
        peer = attack.socket()
        peer.sendall(with_header(b"Origin: " + allowed))
        assert peer.recv(1000).startswith(b"HTTP/1.1 101 ")
    return got


@row(
    "a second request pipelined while `onConnect` decides",
    "one answer, one greeting",
    options=("--protocol", "tests.hostile.misbehaviours.Slow"),
)
def test_a_second_request_while_the_first_is_decided_is_not_answered(attack: Attack) -> str:
    peer = attack.socket()
    peer.sendall(REQUEST)
    time.sleep(0.1)
    peer.sendall(REQUEST)
    octets = read_all(peer)
    assert octets.count(b"HTTP/1.1") == 1
    assert octets.startswith(b"HTTP/1.1 101 ")
    assert octets.count(b"Hello from server") == 1
    # The second one is no frame.
    assert struct.pack("!H", 1002) in octets
    return "one answer, one greeting, 1002"


@row(
    "asks for the page and does not read it, 500 at once; then asks 500 times in turn",
    "dropped within `--close-timeout` (here 2 s) + 1 s; memory + 8 MiB; each gets the whole page",
    options=("--close-timeout", "2", *ROOMY),
    memory=8 * MIB,
)
def test_who_does_not_read_the_page_is_dropped(attack: Attack) -> str:
    roomy(attack)
    descriptors = attack.process.descriptors()
    began = time.monotonic()
    for _ in range(500):
        attack.socket(receive_buffer=2048).sendall(PAGE)
    wait_until(lambda: attack.process.descriptors() <= descriptors, "their end", 5)
    attack.notes["dropped within"] = f"{time.monotonic() - began:.1f} of {2 + attack.slack:g} s"
    assert time.monotonic() - began < 2 + attack.slack
    pages = {asked(attack, PAGE) for _ in range(500)}
    assert len(pages) == 1
    assert pages.pop().endswith(b"</html>\n")
    return "dropped; 500 pages"


@row(
    "more than `--max-connections`",
    "503 with `Retry-After`, accepted later",
    options=("--max-connections", "20", *ROOMY),
)
def test_too_many_connections_are_told_to_come_again(attack: Attack) -> str:
    roomy(attack)
    peers = _filled(attack, 20)
    for _ in range(50):
        answer = asked(attack, REQUEST)
        check(answer, 503)
        assert b"Retry-After: 10\r\n" in answer
    unasked = [attack.socket() for _ in range(300)]
    time.sleep(0.2)
    for peer in [*peers, *unasked]:
        peer.close()
    return f"503; {_until_accepted(attack):.2f} s after others left 101"


@row(
    "more than `--max-connections-per-ip`",
    "the same",
    options=("--max-connections-per-ip", "10"),
)
def test_too_many_connections_of_one_address_are_told_to_come_again(attack: Attack) -> str:
    peers = _filled(attack, 10)
    check(asked(attack, REQUEST), 503)
    for peer in peers:
        peer.sendall(GOODBYE)
        peer.close()
    return f"503; {_until_accepted(attack):.2f} s after others left 101"


def _filled(attack: Attack, most: int) -> list[socket.socket]:
    """As many connections as there is room for, beside the neighbour and who measures."""
    peers: list[socket.socket] = []
    while True:
        peer = attack.socket()
        peer.sendall(REQUEST)
        answer = peer.recv(1000)
        if answer.startswith(b"HTTP/1.1 503 "):
            peer.close()
            break
        assert answer.startswith(b"HTTP/1.1 101 ")
        peers.append(peer)
        assert len(peers) < most
    assert len(peers) > most - 6
    return peers


def _until_accepted(attack: Attack) -> float:
    began = time.monotonic()
    while time.monotonic() - began < attack.slack:
        # While too many of those to be refused are still there, one is dropped.
        with (
            suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", attack.port), 5) as peer,
        ):
            attack.connections += 1
            peer.sendall(REQUEST)
            if peer.recv(1000).startswith(b"HTTP/1.1 101 "):
                return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"not accepted within {attack.slack:g} s")
