"""A WebSocket client of plain sockets, which shares no code with what is tested.

It says and sees each frame: a client can be rude with it.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_PATIENCE = 20.0


@dataclass(frozen=True)
class Closed:
    """The server's close frame, or None for both where it sent none."""

    code: int | None
    reason: str | None


class Wire:
    """One connection. `status` is the HTTP status that the server answered with."""

    def __init__(
        self, port: int | str, host: str = "127.0.0.1", path: str = "/websockets/"
    ) -> None:
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(_PATIENCE)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection((host, port), _PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = path
        self._buffer = b""
        self.status = 0

    def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on."""
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def upgrade(self, before: bytes = b"", headers: str = "") -> Wire:
        """Shake hands. `before` goes out first: a PROXY header."""
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"{headers}\r\n"
        )
        self.socket.sendall(before + request.encode())
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                raise AssertionError(f"the server ended the handshake: {self._buffer!r}")
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode("latin-1")
        self.status = int(self.head.split()[1])
        return self

    def send(self, payload: str | bytes) -> None:
        """Send a message."""
        binary = isinstance(payload, bytes)
        data = payload if isinstance(payload, bytes) else payload.encode()
        self.socket.sendall(frame(BINARY if binary else TEXT, data))

    def receive(self) -> str | bytes | Closed:
        """The next message, or the end. Answers nothing."""
        while True:
            opcode, payload = self._frame()
            if opcode == TEXT:
                return payload.decode()
            if opcode == BINARY:
                return payload
            if opcode == CLOSE:
                if len(payload) < 2:
                    return Closed(None, None)
                return Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())

    def close(self, code: int = 1000) -> Closed:
        """Close in order: the server's answer, after which it has ended the connection."""
        self.socket.sendall(frame(CLOSE, struct.pack("!H", code)))
        answer = self.receive()
        while not isinstance(answer, Closed):
            answer = self.receive()
        assert self.at_end()
        return answer

    def answer_close(self) -> Closed:
        """Wait for the server's close frame, skipping messages, and answer it."""
        said = self.receive()
        while not isinstance(said, Closed):
            said = self.receive()
        self.socket.sendall(frame(CLOSE, struct.pack("!H", said.code or 1000)))
        assert self.at_end()
        return said

    def at_end(self) -> bool:
        """Whether the server sends nothing more, and ends the connection."""
        try:
            return not self._more() and not self._buffer
        except ConnectionResetError:
            return True

    def rest(self) -> bytes:
        """All that the server still sends until it ends the connection."""
        while self._more():
            pass
        return self._buffer

    def end(self) -> None:
        """Let go, in whatever state."""
        self.socket.close()

    def _frame(self) -> tuple[int, bytes]:
        first, length = self._take(2)
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        return first & 15, self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                raise EOFError("the server ended the connection without a close frame")
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> bool:
        chunk = self.socket.recv(65536)
        self._buffer += chunk
        return bool(chunk)


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame from a client. Its mask is zero, which is one of those allowed."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload
