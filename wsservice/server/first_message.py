"""Read the first message of a client, which is its token. PURE.

Nothing of a connection runs before its user is known: not its codec, nor Autobahn. So this reads
frames itself (RFC 6455, 5), few and small ones.
"""

from __future__ import annotations

from collections.abc import Callable

from ..auth.credentials import LONGEST
from ..config.close_codes import CloseCode
from ..protocol import frames

MOST_FRAMES = 128
"""The most frames that may come, pings and fragments too."""

_MOST_OCTETS = LONGEST + LONGEST // 8 + 64
"""The most octets of a payload as it comes: a compressed one may be larger than its message."""

_LONGEST_HEADER = 14
_MOST_OF_CONTROL = 125
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FINAL, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x70
_ANY_FRAME = b"\x82"
"""The first octet of a whole, final frame, which the codec takes."""
_PONG_FRAME = 0x8A


class FirstMessageError(Exception):
    """The client sent something else than a token. It has the code of the close frame."""

    def __init__(self, problem: str, code: CloseCode = CloseCode.POLICY_VIOLATION) -> None:
        super().__init__(problem)
        self.code = code


class FirstMessage:
    """The frames of a client up to its first text message.

    `inflate` returns a compressed message as it was, at most one octet more than
    `credentials.LONGEST`; None without compression. It may raise any exception.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_count",
        "_inflate",
        "_parts",
        "_size",
        "code",
        "pongs",
        "rest",
        "token",
    )

    def __init__(self, inflate: Callable[[bytes], bytes] | None) -> None:
        self._inflate = inflate
        self._buffer = b""
        self._parts: list[bytes] | None = None
        self._size = self._count = 0
        self._compressed = False
        #: Answers to pings, to be sent.
        self.pongs: list[bytes] = []
        #: The message, once it is whole, and the octets behind it.
        self.token: str | None = None
        self.rest = b""
        #: The code to close with, None for that of the refusal.
        self.code: int | None = None

    def feed(self, octets: bytes) -> str | None:
        """Return the message, None if it is not whole yet. Raises `FirstMessageError`."""
        self._buffer += octets
        while self.token is None and (size := self._frame_size()):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            self._take(frame)
        if self.token is not None:
            self.rest, self._buffer = self._buffer, b""
        return self.token

    def _frame_size(self) -> int:
        """Return the size of the next frame, 0 if it is not whole yet."""
        size = frames.frame_size(self._buffer, 0)
        if size > _MOST_OCTETS + _LONGEST_HEADER:
            raise FirstMessageError(f"the first message has more than {LONGEST} octets")
        return size if size <= len(self._buffer) else 0

    def _take(self, frame: bytes) -> None:
        self._count += 1
        if self._count > MOST_FRAMES:
            raise FirstMessageError(f"more than {MOST_FRAMES} frames came before the token")
        first, opcode = frame[0], frame[0] & 15
        decoded, _ = frames.decode(_ANY_FRAME + frame[1:], 0, True, 0, 1)
        allowed = _COMPRESSED if opcode in (_TEXT, _BINARY) and self._inflate is not None else 0
        if not decoded or first & _RESERVED & ~allowed:
            raise _broken()
        payload = decoded[0][0]
        if opcode >= _CLOSE:
            self._take_control(opcode, payload, bool(first & _FINAL))
            return
        if opcode == _BINARY:
            raise FirstMessageError("the first message is binary; send the token as text")
        if (opcode == _CONTINUATION) is (self._parts is None) or opcode > _TEXT:
            raise _broken()
        if self._parts is None:
            self._parts = []
            self._compressed = bool(first & _COMPRESSED)
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > _MOST_OCTETS:
            raise FirstMessageError(f"the first message has more than {LONGEST} octets")
        if first & _FINAL:
            self.token = self._text(b"".join(self._parts))

    def _take_control(self, opcode: int, payload: bytes, is_final: bool) -> None:
        if not is_final or len(payload) > _MOST_OF_CONTROL or opcode > _PONG:
            raise _broken()
        if opcode == _CLOSE:
            raise FirstMessageError("the client closed before it sent a token", CloseCode.NORMAL)
        if opcode == _PING:
            self.pongs.append(frames.encode(_PONG_FRAME, payload, b""))

    def _text(self, payload: bytes) -> str:
        if self._compressed and self._inflate is not None:
            try:
                payload = self._inflate(payload)
            except Exception:
                # Too large, or malformed.
                raise FirstMessageError("the first message cannot be decompressed") from None
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise FirstMessageError(
                "the first message is not UTF-8", CloseCode.INVALID_PAYLOAD
            ) from None


def _broken() -> FirstMessageError:
    return FirstMessageError("a frame breaks the protocol", CloseCode.PROTOCOL_ERROR)
