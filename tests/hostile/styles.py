"""Every way in which a connection ends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from ..integration.wire import BINARY, CLOSE, PING, TEXT, frame

REQUEST = (
    b"GET /attack HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
GOODBYE = frame(CLOSE, struct.pack("!H", 1000))

Style = Callable[[socket.socket], None]


def _said(octets: bytes) -> Style:
    """Says something before the handshake is done, and leaves."""

    def style(peer: socket.socket) -> None:
        peer.sendall(octets)

    return style


def _answered(octets: bytes) -> Style:
    """Says something in place of the handshake, and reads until the server ends."""

    def style(peer: socket.socket) -> None:
        peer.sendall(octets)
        read_all(peer)

    return style


def _open(octets: bytes, wait: bool = False, reset: bool = False) -> Style:
    """Opens, says something, and waits for the end, or leaves."""

    def style(peer: socket.socket) -> None:
        peer.sendall(REQUEST)
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(4096) or b"\r\n\r\n"
        peer.sendall(octets)
        if wait:
            read_all(peer)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return style


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _half_closed(peer: socket.socket) -> None:
    _open(frame(TEXT, b"last words"))(peer)
    if not isinstance(peer, ssl.SSLSocket):
        peer.shutdown(socket.SHUT_WR)
        read_all(peer)


def read_all(peer: socket.socket) -> bytes:
    """All that comes until the connection ends, in whatever way."""
    octets = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while more := peer.recv(65536):
            octets += more
    return octets


STYLES: dict[str, Style] = {
    "without a word": _said(b""),
    "reset without a word": _reset,
    "within the request": _said(REQUEST[:50]),
    "right behind the request": _said(REQUEST),
    "a request that is none": _answered(b"NONSENSE\r\n\r\n"),
    "a request that is refused": _answered(REQUEST.replace(b"/attack", b"*")),
    "a foreign origin": _answered(REQUEST[:-2] + b"Origin: https://evil.example\r\n\r\n"),
    "octets behind the request": _answered(REQUEST + GOODBYE),
    "TLS hello": _answered(b"\x16\x03\x01\x02\x00\x01"),
    "a closing handshake": _open(GOODBYE, wait=True),
    "a close frame without a code": _open(frame(CLOSE, b""), wait=True),
    "a close frame, not waited for": _open(GOODBYE),
    "a close frame and a reset": _open(GOODBYE, reset=True),
    "an invalid close frame": _open(frame(CLOSE, b"\x00"), wait=True),
    "open, and gone": _open(b""),
    "open, and reset": _open(b"", reset=True),
    "within a frame": _open(frame(BINARY, b"x" * 1000)[:500]),
    "within a large frame": _open(frame(BINARY, b"x" * 100_000)[:50_000]),
    "within a message": _open(b"\x01" + frame(TEXT, b"x")[1:]),
    "with an answer unread": _open(frame(TEXT, b"x" * 60_000), reset=True),
    "messages and a goodbye": _open(
        frame(TEXT, b"x") * 100 + frame(PING, b"") + GOODBYE, wait=True
    ),
    "a frame that is not masked": _open(frame(TEXT, b"x", masked=False), wait=True),
    "a frame that is none": _open(frame(11, b""), wait=True),
    "what is not UTF-8": _open(frame(TEXT, b"\xff"), wait=True),
    "what is too large": _open(b"\x82\xff" + struct.pack("!Q", 1 << 40) + bytes(4), wait=True),
    "half closed": _half_closed,
}
