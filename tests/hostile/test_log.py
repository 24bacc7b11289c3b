"""Text of peers can neither forge lines of the log nor fill it."""

from __future__ import annotations

import contextlib
import re

from ..integration.processes import wait_until
from ..integration.wire import CLOSE
from .harness import LINE, MIB, Attack, row
from .styles import REQUEST, read_all

PAYLOAD = 4096
"""`--log-payload` as it is by default."""

FORGED = "2026-01-01T00:00:00+0000 [wsservice#info] forged"
NASTY = [
    *(f"a{end}{FORGED}" for end in ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028")),
    "\x1b[2J\x1b]0;title\x07" + FORGED,
    "\x9b2J" + FORGED,
    "\u202e\u2066\u200f" + FORGED,
    "\0\x08\x7f" + FORGED,
]
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[[^\]]*\] (?!forged)")


def _honest(attack: Attack) -> None:
    """Each line is one, printable, and begins as a line does."""
    for line in attack.server.log.path.read_bytes().decode().split("\n")[:-1]:
        assert line.isprintable(), line
        assert _LINE.match(line), line


@row(
    "messages with newlines, escape sequences, bidi controls, 10 MiB",
    "one line each, escaped, cut at `--log-payload`; 10 MiB are copied at one go: 20 ms",
    behaviour="Greeting",
    turn=0.020,
    options=("--max-message-size", str(16 * MIB)),
    log=PAYLOAD + LINE,
)
def test_a_message_is_one_line_of_the_log(attack: Attack) -> str:
    before = len(attack.server.log.lines)
    large = [each * (10 * MIB // len(each.encode())) for each in ("x", "\n", "\u202e", "\\")]
    for message in [*NASTY, *large]:
        wire = attack.connect()
        wire.send(message)
        wire.close()
    count = len(NASTY) + len(large)
    wait_until(lambda: len(attack.server.log.lines) - before == count, "a line for each", 5)
    _honest(attack)
    return "one line each"


@row(
    "the same in request lines, header values, paths, close reasons, user agents; port probes",
    "one line each, escaped, then cut",
    behaviour="Greeting",
    log=LINE,
)
def test_what_else_a_peer_says_is_at_most_one_line_of_the_log(attack: Attack) -> str:
    requests = [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160)),
        b"\x00\x00\x00\x85\xffSMB\x72",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
        b"SSH-2.0-Go\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
        b"*1\r\n$4\r\nINFO\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /.env HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\n",
        b"\n" * 20_000,
        b"GET /" + b"\x1b[2J" * 5000,
        b"\xff" * 10_000,
    ]
    for nasty in NASTY:
        said = nasty.encode()
        requests += [
            said + b"\r\n\r\n",
            REQUEST.replace(b"GET", said, 1),
            REQUEST.replace(b"/attack", b"/" + said, 1),
            REQUEST.replace(b"localhost", said),
            *(
                REQUEST[:-2] + b"%s: %s\r\n\r\n" % (name, said)
                for name in (b"User-Agent", b"Origin", b"Sec-WebSocket-Protocol", said)
            ),
        ]
    for request in requests:
        peer = attack.socket()
        before = len(attack.server.log.lines)
        with contextlib.suppress(ConnectionError):
            peer.sendall(request + bytes(2) * request.endswith(b"\r\n\r\n"))
        peer.shutdown(1)
        read_all(peer)
        wait_until(lambda: len(attack.server.log.lines) > before, f"a line for {request!r}", 5)  # noqa: B023
        assert len(attack.server.log.lines) == before + 1, attack.server.log.lines[before:]
    for nasty in NASTY:
        wire = attack.connect("/" + nasty.encode().hex())
        wire.send_frame(CLOSE, b"\x03\xe8" + nasty.encode())
        assert wire.receive_close().code == 1000
    _honest(attack)
    return "a refusal, one line each"
