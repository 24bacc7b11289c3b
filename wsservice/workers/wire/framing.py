"""The frames of the bus: a body, with its length before it. PURE."""

from __future__ import annotations

import struct

LONGEST = 64 * 1024 * 1024
"""The largest size of a body, in octets."""

_LENGTH = struct.Struct("!I")
LENGTH = _LENGTH.size
"""The size of a body's length, in octets; big-endian."""


class MessageError(ValueError):
    """A message from the other end is malformed."""


class WrongFieldError(MessageError):
    """A message of a known kind has a field that is missing or wrong.

    `request` is the number of the question that it is, 0 for one that wants no answer.
    """

    def __init__(self, problem: str, request: int) -> None:
        super().__init__(problem)
        self.request = request


class TooLongError(ValueError):
    """A message of this end is longer than the other end accepts."""


def framed(body: bytes) -> bytes:
    """Return a body with its length before it. Raises `TooLongError`."""
    if len(body) > LONGEST:
        raise TooLongError(f"{len(body)} octets are more than {LONGEST}")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """A parser of frames: it takes octets as they arrive, and returns bodies."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = _LENGTH.size

    def feed(self, octets: bytes) -> list[bytes]:
        """Return the bodies that are complete now. Raises `MessageError` for a too long one."""
        self._parts.append(octets)
        self._size += len(octets)
        if self._size < self._needed:  # so that no part of a long body is scanned twice
            return []
        data = b"".join(self._parts)
        bodies = []
        start = 0
        self._needed = _LENGTH.size
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > LONGEST:
                raise MessageError(f"{length} octets are more than {LONGEST}")
            begin = start + _LENGTH.size
            if len(data) - begin < length:
                self._needed += length
                break
            start = begin + length
            bodies.append(data[begin:start])
        self._parts = [data[start:]]
        self._size = len(data) - start
        return bodies
