"""Credentials as no client should show them: refused, counted, and never logged."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import time
from urllib.parse import quote

from ..integration.processes import wait_until
from ..integration.wire import BINARY, CLOSE, PING, TEXT, frame
from .harness import LINE, MIB, Attack, row
from .people import GOOD
from .rooms import ROOMY, roomy
from .styles import REQUEST, read_all

AUTH = ("--auth", "tests.hostile.people:who")
TARGET = b"GET /attack HTTP/1.1"
SECRET = "s3cr3t"
CONTINUATION = 0


def request(headers: str = "", query: str = "") -> bytes:
    """The request with more headers, and a query."""
    asked = REQUEST.replace(TARGET, f"GET /attack{query} HTTP/1.1".encode())
    return asked[:-2] + headers.encode() + b"\r\n"


def bearer(token: str) -> bytes:
    return request(f"Authorization: Bearer {token}\r\n")


def status_of(attack: Attack, octets: bytes, address: str = "127.0.0.1") -> int:
    """The status of an answer. An open connection is let go."""
    attack.connections += 1
    peer = socket.create_connection(("127.0.0.1", attack.port), 20, (address, 0))
    peer.sendall(octets)
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = peer.recv(65536)
        assert chunk, head
        head += chunk
    peer.close()
    return int(head.split()[1])


def _hides(attack: Attack) -> None:
    attack.server.log.wait_for("refused with ")
    assert SECRET not in attack.server.log.text


@row(
    "credentials that are empty, malformed, of 8 to 16 KiB, two in one request, of other schemes",
    "400, 401 or 431; one line each, which has nothing of it; memory + 1 MiB",
    options=(*AUTH, "--auth-cookie", "sid", "--auth-failures", "0"),
    memory=MIB,
    log=LINE,
)
def test_a_malformed_credential_is_refused(attack: Attack) -> str:
    nested = f"{SECRET}." * 900
    basic = base64.b64encode(f"tom:{SECRET}\x07".encode()).decode()
    cases = [
        (request(), 401),
        *((request(f"Authorization: {each}\r\n"), 401) for each in ("", "Bearer", "Basic", "x")),
        *((bearer(each), 401) for each in (SECRET, SECRET * 1400, nested, f"{SECRET} x", "\u00e9")),
        (bearer(SECRET * 3000), 431),
        (request(f"Authorization: Basic {basic}\r\n"), 401),
        (request(f"Authorization: Basic {SECRET}\r\n"), 401),
        (request(query=f"?access_token={quote(SECRET + chr(10))}"), 401),
        (request(query=f"?access_token={SECRET}%ff"), 401),
        (request(query=f"?ticket={SECRET * 1000}"), 401),
        (request(query=f"?access_token={GOOD}&access_token={SECRET}"), 400),
        (request(f"Authorization: Bearer {GOOD}\r\n", f"?access_token={SECRET}"), 400),
        (request(f"Sec-WebSocket-Protocol: bearer.{GOOD}, bearer.{SECRET}\r\n"), 400),
        (request("Sec-WebSocket-Protocol: bearer.\r\n"), 401),
        (request(f"Sec-WebSocket-Protocol: bearer.{SECRET * 1400}\r\n"), 401),
        (request(f"Cookie: sid={GOOD}; sid={SECRET}\r\n"), 400),
        (request(f"Cookie: sid={SECRET} x\r\n"), 401),
        (bearer(GOOD), 101),
    ]
    for octets, status in cases:
        assert status_of(attack, octets) == status, octets[:300]
    _hides(attack)
    return "400, 401, 431"


@row(
    "2,000 bad tokens of one address, one after another",
    "20 get 401, the others 429 with `Retry-After` and no check; memory + 1 MiB",
    options=AUTH,
    memory=MIB,
    log=LINE,
)
def test_guesses_are_slowed_down(attack: Attack) -> str:
    count = 2000 if attack.full else 200
    began = time.monotonic()
    guesses = (bearer(f"{SECRET}-{number}") for number in range(count))
    answers = [status_of(attack, each, "127.0.0.2") for each in guesses]
    most = 20 + (time.monotonic() - began) / 5 + 1
    assert answers[:20] == [401] * 20
    assert answers.count(401) <= most
    assert answers.count(401) + answers.count(429) == count
    assert status_of(attack, bearer(GOOD)) == 101
    _hides(attack)
    return f"{answers.count(401)} x 401, {answers.count(429)} x 429"


@row(
    "a cookie from pages of foreign, look-alike and malformed origins, with `--allow-origin '*'`",
    "403; the service's own page gets in",
    options=(
        *AUTH,
        *("--auth-cookie", "sid"),
        *("--allow-origin", "*"),
        *("--allow-origin", "https://app.example"),
    ),
)
def test_a_cookie_of_a_foreign_page_is_refused(attack: Attack) -> str:
    origins = [
        *("null", "https://evil.example", "https://app.example.evil.example", "file://"),
        *("https://xapp.example", "https://app.example:444", "http://app.example"),
        *("https://app.example@evil.example", "https://app.example.", "https://app.example/x"),
        *("https://app-example", "https://localhost.evil.example", "http://127.0.0.1"),
        *("https://xn--pp-gia.example", "https://app.example, https://evil.example", "*"),
    ]
    for origin in origins:
        asked = request(f"Cookie: sid={GOOD}\r\nOrigin: {origin}\r\n")
        assert status_of(attack, asked) == 403, origin
    for own in ("https://app.example", "http://localhost", "https://localhost"):
        asked = request(f"Cookie: sid={GOOD}\r\nOrigin: {own}\r\n")
        assert status_of(attack, asked) == 101, own
    return "403"


@row(
    "users whose ids are empty, of 10 kB, or have control characters, `/`, `*`, bidi controls",
    "403, or open; one line each, printable",
    options=(*AUTH, "--auth-failures", "0"),
)
def test_an_id_cannot_do_harm(attack: Attack) -> str:
    bad = ["", "a\nb", "\x00", "\x7f", "\x85", "\u2028", "\x1b[2J", "x" * 7000, "\u0105" * 200]
    for each in bad:
        assert status_of(attack, bearer(f"is-{quote(each)}")) == 403, each
    for each in ("a/b", "*", "../..", "{user}", "\u202e", "x" * 255):
        assert status_of(attack, bearer(f"is-{quote(each, safe='')}")) == 101, each
    for line in attack.server.log.lines:
        assert line.isprintable(), line
    return "403 for those"


@row(
    "first messages that are no token: silence, binary, 1 MiB, fragments, bombs, 200 at once",
    "1008 or 1002 within `--handshake-timeout` (here 1 s) + 1 s; memory + 4 MiB",
    options=(
        *AUTH,
        "--auth-first-message",
        *("--auth-failures", "0"),
        *("--handshake-timeout", "1"),
        *("--compression", "on"),
        *ROOMY,
    ),
    memory=4 * MIB,
    log=LINE,
)
def test_nothing_is_taken_before_the_token(attack: Attack) -> str:
    roomy(attack)
    bomb = bytearray(frame(TEXT, b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a" * 500))
    bomb[0] |= 0x40
    part = bytearray(frame(TEXT, b"a"))
    part[0] &= 0x7F
    more = bytearray(frame(CONTINUATION, b"a"))
    more[0] &= 0x7F
    says = [
        b"",
        frame(TEXT, GOOD.encode())[:-1],
        frame(BINARY, GOOD.encode()),
        frame(TEXT, b"x" * MIB)[:100_000],
        bytes(part) + bytes(more) * 9000,
        bytes(bomb),
        frame(PING, b"x" * 125) * 1000,
        frame(TEXT, SECRET.encode()) + frame(TEXT, b"more") * 1000,
        frame(TEXT, b"x", masked=False),
        frame(CLOSE, struct.pack("!H", 1000)),
        bytes(range(256)) * 40,
    ]
    offer = request("Sec-WebSocket-Extensions: permessage-deflate\r\n")
    peers: list[tuple[socket.socket, bytes]] = []
    for number in range(200 if attack.full else 40):
        peer = attack.socket()
        peer.sendall(offer)
        peers.append((peer, says[number % len(says)]))
    codes: set[int] = set()
    began = time.monotonic()
    for peer, said in peers:
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        with contextlib.suppress(ConnectionError):
            peer.sendall(said)
    for peer, said in peers:
        try:
            answer = read_all(peer)
        except ConnectionError:
            continue
        while answer[:1] == b"\x8a":  # pongs
            answer = answer[2 + answer[1] :]
        assert answer[:1] == b"\x88", (answer[:100], said[:100])
        codes.add(int.from_bytes(answer[2:4], "big"))
    seconds = time.monotonic() - began
    assert codes <= {1000, 1002, 1007, 1008}, codes
    assert {1002, 1008} <= codes
    assert seconds < 2 * attack.slack + 3, seconds
    _hides(attack)
    return f"{', '.join(map(str, sorted(codes)))}; the last after {seconds:.1f} s"


@row(
    "credentials whose check never ends, 1,200 at once",
    "503 for those over 1,000 at once, for the others after `--handshake-timeout` (here 3 s)",
    options=(*AUTH, "--handshake-timeout", "3", "--auth-failures", "0", *ROOMY),
    memory=16 * MIB,
    log=LINE,
)
def test_checks_that_do_not_end_are_bounded(attack: Attack) -> str:
    roomy(attack)
    peers = []
    for _ in range(1200 if attack.full else 1050):
        peers.append(attack.socket())
        peers[-1].sendall(bearer("never"))
    for peer in peers:
        assert read_all(peer).startswith(b"HTTP/1.1 503 ")
        peer.close()
    wait_until(lambda: status_of(attack, bearer(GOOD)) == 101, "room again")
    said = attack.server.log.text
    assert said.count("too many credentials are being checked") + said.count("in time") == len(
        peers
    )
    assert "too many credentials are being checked" in said
    return "503"
