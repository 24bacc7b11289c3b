"""The codec in Python: the reference (RFC 6455, 5.2). PURE."""

from __future__ import annotations

import codecs

STOPPED = 0
"""The wanted number of messages was decoded. More may follow."""
PARTIAL = 1
"""The rest is the beginning of a frame, or empty."""
FOREIGN = 2
"""The rest begins with a frame for Autobahn: any frame but a whole, final, uncompressed data frame
within the limit, validly encoded."""

_TEXT = 0x81
_BINARY = 0x82

_SHORT = 125
"""Octets of the longest payload whose length is in the second octet of the header."""

_MANY = 8
"""The least number of short frames that are unmasked together."""

Message = tuple[bytes, bool, int]
"""A payload, True if it is binary, and the end of its frame in the buffer."""


def _check(start: int) -> None:
    if start < 0:
        raise ValueError("start is negative")


def _header(buffer: bytes, start: int) -> tuple[int, int]:
    """Return the octets of a header and of its payload; zeros if the header is not whole.

    The payload is -1 if its length is not encoded in the shortest way, which is an error (RFC 6455,
    5.2).
    """
    _check(start)
    available = len(buffer) - start
    if available < 2:
        return 0, 0
    second = buffer[start + 1]
    size = second & 0x7F
    header = 6 if second & 0x80 else 2
    if size == 126:
        header += 2
        if available < header:
            return 0, 0
        size = int.from_bytes(buffer[start + 2 : start + 4], "big")
        if size < 126:
            size = -1
    elif size == 127:
        header += 8
        if available < header:
            return 0, 0
        size = int.from_bytes(buffer[start + 2 : start + 10], "big")
        # The most significant bit must be 0 (RFC 6455, 5.2).
        if size < 65536 or size >= 1 << 63:
            size = -1
    elif available < header:
        return 0, 0
    return header, size


def frame_size(buffer: bytes, start: int, /) -> int:
    """Return how many octets the frame at `start` has in all, of any kind, or 0 if unknown.

    For a frame with an invalid length it is the octets of the header, in which Autobahn finds the
    error. Raises `ValueError` if `start` is negative.
    """
    header, size = _header(buffer, start)
    return header + max(size, 0)


def mask(payload: bytes, key: bytes, /) -> bytes:
    """Mask or unmask with a key (RFC 6455, 5.3).

    Raises `ValueError` for a key that does not have four octets.
    """
    if len(key) != 4:
        raise ValueError("a key has four octets")
    # One XOR of two large integers is far faster in Python than a loop over octets.
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")
    return masked.to_bytes(size, "little")


def decode(
    buffer: bytes, start: int, masked: bool, limit: int, most: int, /
) -> tuple[list[Message], int]:
    """Decode the frames at `start`; return the messages, and `STOPPED`, `PARTIAL` or `FOREIGN`.

    `masked` is True if frames must be masked, as those of clients, and False if they must not be.
    `limit` is the most octets of a payload, 0 for any number. `most` is how many messages are
    wanted. Raises `ValueError` if `start` is negative.
    """
    _check(start)
    length = len(buffer)
    messages: list[Message] = []
    if masked and length - start >= _MANY * 6 and 0x80 <= buffer[start + 1] <= 0x80 + _SHORT:
        messages = _short_frames(buffer, start, limit, most)
        if messages:
            start = messages[-1][2]
    while len(messages) < most:
        if length - start < 2:
            return messages, PARTIAL
        first = buffer[start]
        second = buffer[start + 1]
        if (first != _TEXT and first != _BINARY) or (second > 127) != masked:
            return messages, FOREIGN
        # Most frames are short, and a call of `_header` would take a fifth of their time.
        header, size = 6 if masked else 2, second & 0x7F
        if size > 125:
            header, size = _header(buffer, start)
        if not header or length - start < header:
            return messages, PARTIAL
        if size < 0 or 0 < limit < size:
            return messages, FOREIGN
        begin = start + header
        end = begin + size
        if end > length:
            return messages, PARTIAL
        payload = buffer[begin:end]
        if masked:
            payload = mask(payload, buffer[begin - 4 : begin])
        if first == _TEXT and not payload.isascii() and not _is_text(payload):
            return messages, FOREIGN
        messages.append((payload, first == _BINARY, end))
        start = end
    return messages, STOPPED


def _short_frames(buffer: bytes, start: int, limit: int, most: int) -> list[Message]:
    """Return the messages of many short masked frames at `start`, unmasked all at once.

    That takes two thirds of the time. Any other frame, and few frames, are left to `decode`.
    """
    rest = buffer[start : start + most * (6 + _SHORT)]
    length = len(rest)
    if length < _MANY * (6 + (buffer[start + 1] & 0x7F)):
        return []
    longest = min(limit or _SHORT, _SHORT)
    found: list[tuple[int, bool, int]] = []
    keys: list[bytes] = []
    position = 0
    for _ in range(most):
        begin = position + 6
        if begin > length:
            break
        first, size = rest[position], rest[position + 1] - 0x80
        end = begin + size
        if (first != _TEXT and first != _BINARY) or not 0 <= size <= longest or end > length:
            break
        # Headers are their own keys, so they become zeros. Zeros are ASCII, so one check of all
        # octets tells that no text needs to be checked for UTF-8.
        keys += rest[position:begin], (rest[begin - 4 : begin] * ((size + 3) // 4))[:size]
        found.append((begin, first == _BINARY, end))
        position = end
    masked = int.from_bytes(rest[:position], "little") ^ int.from_bytes(b"".join(keys), "little")
    octets = masked.to_bytes(position, "little")
    if octets.isascii():
        return [(octets[begin:end], binary, start + end) for begin, binary, end in found]
    messages: list[Message] = []
    for begin, binary, end in found:
        payload = octets[begin:end]
        if not binary and not _is_text(payload):
            break
        messages.append((payload, binary, start + end))
    return messages


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class PartialFrame:
    """A data frame that takes several reads, put together in linear time.

    Text is checked for UTF-8 as it arrives (RFC 6455, 8.1), so an error is known at once and not
    after a frame of megabytes is whole.
    """

    def __init__(self, buffer: bytes, start: int, /) -> None:
        """Read the header, which must be whole in the buffer at `start`. Payload is fed later.

        Raises `ValueError` if there is no whole header, or if its length is invalid.
        """
        header, size = _header(buffer, start)
        if not header or size < 0:
            raise ValueError("no whole header of a frame")
        self.isBinary = buffer[start] == _BINARY
        begin = start + header
        self._key = buffer[begin - 4 : begin] if buffer[start + 1] & 0x80 else b""
        self._size = size
        self._payload = bytearray()
        self._decoder = None if self.isBinary else codecs.getincrementaldecoder("utf-8")()
        self.valid = True
        self.header_size = header

    @property
    def whole(self) -> bool:
        """True if the payload is whole."""
        return len(self._payload) == self._size

    @property
    def left(self) -> int:
        """How many octets of the payload are still to come."""
        return self._size - len(self._payload)

    @property
    def payload(self) -> bytes:
        """The unmasked payload, as far as it has arrived."""
        return bytes(self._payload)

    def feed(self, buffer: bytes, start: int, /) -> int:
        """Take the frame's octets from `start` on, and return their end in the buffer.

        `valid` is false afterwards if the text can no longer become valid UTF-8. Raises
        `ValueError` if `start` is negative.
        """
        _check(start)
        end = min(len(buffer), start + self._size - len(self._payload))
        part = buffer[start:end]
        if self._key:
            turn = len(self._payload) % 4
            part = mask(part, self._key[turn:] + self._key[:turn])
        self._payload += part
        if self._decoder is not None:
            try:
                self._decoder.decode(part, self.whole)
            except UnicodeDecodeError:
                self.valid = False
            # For a surrogate (ED A0 to ED BF) Python waits for the third octet, though the second
            # one proves the error already.
            kept = self._decoder.getstate()[0]
            if kept[:1] == b"\xed" and kept[1:] >= b"\xa0":
                self.valid = False
        return end


def encode(first: int, payload: bytes, key: bytes = b"", /) -> bytes:
    """Return a frame: its first octet (FIN, RSV and opcode), and its payload, masked with `key`.

    An empty key leaves the payload unmasked. Raises `ValueError` for a key that has neither no nor
    four octets.
    """
    size = len(payload)
    bit = 0x80 if key else 0
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 65536:
        header = bytes((first, bit | 126, size >> 8, size & 0xFF))
    else:
        header = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return header + key + mask(payload, key) if key else header + payload
