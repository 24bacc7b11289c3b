"""The codec in Python: the reference (RFC 6455, 5.2). PURE."""

from __future__ import annotations

import codecs

STOPPED = 0
"""As many messages as were asked for were decoded; more may follow."""
PARTIAL = 1
"""What is left is the beginning of a frame, or nothing."""
FOREIGN = 2
"""What is left begins with a frame that is not the codec's: any but a whole, final,
uncompressed data frame within the limit, validly encoded."""

_TEXT = 0x81
_BINARY = 0x82

_SHORT = 125
"""Octets of the longest payload whose length is in the header's second octet."""

_MANY = 8
"""Short frames that are worth being unmasked together."""

Message = tuple[bytes, bool, int]
"""A payload, whether it is binary, and where in the buffer its frame ends."""


def _check(start: int) -> None:
    if start < 0:
        raise ValueError("start is negative")


def _header(buffer: bytes, start: int) -> tuple[int, int]:
    """The octets of a header and of its payload; zeros while the header is not whole.

    The payload is -1 where its length is not encoded in the shortest way.
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
        if size < 65536 or size >= 1 << 63:
            size = -1
    elif available < header:
        return 0, 0
    return header, size


def frame_size(buffer: bytes, start: int, /) -> int:
    """How many octets the frame at `start` has in all, of whatever kind; 0 while unknown.

    Of a frame with a length that makes no sense, the header's octets: who reads
    it will see what is wrong. Raises `ValueError` where `start` is negative.
    """
    header, size = _header(buffer, start)
    return header + max(size, 0)


def mask(payload: bytes, key: bytes, /) -> bytes:
    """Mask or unmask with a key of four octets (RFC 6455, 5.3). Raises `ValueError`."""
    if len(key) != 4:
        raise ValueError("a key has four octets")
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")
    return masked.to_bytes(size, "little")


def decode(
    buffer: bytes, start: int, masked: bool, limit: int, most: int, /
) -> tuple[list[Message], int]:
    """Decode the frames at `start`: the messages, and what stopped it.

    `masked` says whether frames must be (from clients) or must not be. `limit` is
    the largest payload, 0 for none; `most` is how many messages are wanted.
    Raises `ValueError` where `start` is negative.
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
        # Most are short, and a call would take a fifth of their time.
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
    """The short masked frames at `start`, where they are many, unmasked all at once.

    That takes two thirds of the time. Whatever else there is, is left to `decode`.
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
        # Where a header stands, zeros come of it: ASCII, as the text mostly is.
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
    """A frame of the codec's own that takes several reads: put together in linear time.

    Text is checked as it comes, so that what is not UTF-8 is known at once
    (RFC 6455, 8.1), and not when a frame of megabytes is whole.
    """

    def __init__(self, buffer: bytes, start: int, /) -> None:
        """The header, which is whole in the buffer at `start`; the payload is fed.

        Raises `ValueError` where there is no such header, or its length makes no sense.
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
        """Whether the payload is all there."""
        return len(self._payload) == self._size

    @property
    def left(self) -> int:
        """Octets of the payload that are still to come."""
        return self._size - len(self._payload)

    @property
    def payload(self) -> bytes:
        """The payload, unmasked, as far as it is there."""
        return bytes(self._payload)

    def feed(self, buffer: bytes, start: int, /) -> int:
        """Take what belongs to the frame, and say where in the buffer that ends.

        `valid` is false afterwards if it cannot become UTF-8 text any more.
        Raises `ValueError` where `start` is negative.
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
            # Of a surrogate Python waits for the third octet, though the second proves it.
            kept = self._decoder.getstate()[0]
            if kept[:1] == b"\xed" and kept[1:] >= b"\xa0":
                self.valid = False
        return end


def encode(first: int, payload: bytes, key: bytes = b"", /) -> bytes:
    """A frame: its first octet (FIN, RSV and opcode), its payload, masked if there is a key.

    Raises `ValueError` where the key is neither empty nor of four octets.
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
