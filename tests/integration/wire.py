"""WebSocket on plain sockets, at either end, which shares no code with what is tested.

It says and sees each frame: one can be rude with it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_PATIENCE = 45.0


@dataclass(frozen=True)
class Closed:
    """The server's close frame, or None for both where it sent none."""

    code: int | None
    reason: str | None


class _End:
    """One end of a connection."""

    socket: socket.socket
    _masks = False

    def __init__(self) -> None:
        self._buffer = b""

    def end(self) -> None:
        """Let go, in whatever state."""
        self.socket.close()

    def send(self, payload: str | bytes) -> None:
        """Send a message."""
        binary = isinstance(payload, bytes)
        data = payload if isinstance(payload, bytes) else payload.encode()
        self.send_frame(BINARY if binary else TEXT, data)

    def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send a whole frame."""
        self.socket.sendall(frame(opcode, payload, self._masks))

    def send_close(self, code: int, reason: str = "") -> None:
        """Send a close frame."""
        self.send_frame(CLOSE, struct.pack("!H", code) + reason.encode())

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

    def receive_close(self) -> Closed:
        """The close frame, after whatever messages."""
        said = self.receive()
        while not isinstance(said, Closed):
            said = self.receive()
        return said

    def at_end(self) -> bool:
        """Return True if the connection ends without more octets."""
        try:
            return not self._more() and not self._buffer
        except ConnectionResetError:
            return True

    def rest(self) -> bytes:
        """All that still comes until the connection ends."""
        while self._more():
            pass
        return self._buffer

    def _head(self) -> str:
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                raise AssertionError(f"the handshake was broken off: {self._buffer!r}")
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        mask = self._take(4) if second & 128 else b""
        payload = self._take(length)
        if mask:
            whole = (mask * (length // 4 + 1))[:length]
            number = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
            payload = number.to_bytes(length, "big")
        return first & 15, payload

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                raise EOFError("the connection ended without a close frame")
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> bool:
        chunk = self.socket.recv(65536)
        self._buffer += chunk
        return bool(chunk)


class Wire(_End):
    """A client's end. `status` is the HTTP status that the server answered with."""

    _masks = True

    def __init__(
        self,
        port: int | str,
        host: str = "127.0.0.1",
        path: str = "/websockets/",
        receive_buffer: int = 0,
        source: str = "",
    ) -> None:
        super().__init__()
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(_PATIENCE)
            self.socket.connect(port)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family)
            self.socket.settimeout(_PATIENCE)
            if receive_buffer:  # which TCP asks for when it connects
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                self.socket.bind((source, 0))
            self.socket.connect((host, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = path
        self.status = 0

    def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on."""
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def upgrade(self, before: bytes = b"", headers: str = "", host: str = "localhost") -> Wire:
        """Shake hands. `before` goes out first: a PROXY header."""
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"{headers}\r\n"
        )
        self.socket.sendall(before + request.encode())
        self.head = self._head()
        self.status = int(self.head.split()[1])
        return self

    def close(self, code: int = 1000) -> Closed:
        """Close in order: the server's answer, after which it has ended the connection."""
        self.send_close(code)
        answer = self.receive_close()
        assert self.at_end()
        return answer

    def answer_close(self) -> Closed:
        """Wait for the server's close frame, and answer it."""
        said = self.receive_close()
        self.send_close(said.code or 1000)
        assert self.at_end()
        return said


class Host(_End):
    """A server's end, of one connection."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__()
        self.socket = accepted
        self.socket.settimeout(_PATIENCE)
        self.head = self._head()

    def accept(self, headers: str = "") -> Host:
        """Open the connection."""
        key = next(
            line.split(": ")[1]
            for line in self.head.split("\r\n")
            if line.lower().startswith("sec-websocket-key")
        )
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        self.answer(
            "101 Switching Protocols",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n{headers}",
        )
        return self

    def again(self) -> Host:
        """Read the next request on the same connection."""
        self.head = self._head()
        return self

    def answer(self, status: str, headers: str = "") -> None:
        """Answer the handshake."""
        self.socket.sendall(f"HTTP/1.1 {status}\r\n{headers}\r\n".encode())


def frame(opcode: int, payload: bytes, masked: bool = True) -> bytes:
    """A whole frame. Its mask is zero, which is one of those allowed."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 65536:
        length = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + (b"\0\0\0\0" if masked else b"") + payload
