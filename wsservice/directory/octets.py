"""Find the frames in the octets of a connection (RFC 6455, 5.2).

The codec does not serve here: it wants whole frames, and returns only kinds of its own. This reader
reports every frame with the beginning of its payload, and validates nothing.
"""

from __future__ import annotations

import attrs

from ..protocol.frames import frame_size

KEPT = 1024
"""Octets of each payload that are kept."""

_MOST_OF_HEADER = 14


@attrs.frozen
class Frame:
    """A frame. `payload` holds at most its first `KEPT` octets, unmasked."""

    opcode: int
    fin: bool
    size: int
    payload: bytes
    is_compressed: bool

    @property
    def is_cut(self) -> bool:
        """True if `payload` is only the beginning."""
        return len(self.payload) < self.size


class FrameReader:
    """Find frames in the octets of one direction. The first `skipped` octets belong to no frame."""

    def __init__(self, skipped: int = 0) -> None:
        self._skipped = skipped
        self._header = b""
        self._key = b""
        self._size = -1  # while the header is not whole
        self._left = 0
        self._kept = bytearray()

    def feed(self, octets: bytes) -> list[Frame]:
        """Return the frames that end in these octets."""
        frames: list[Frame] = []
        position = min(self._skipped, len(octets))
        self._skipped -= position
        while position < len(octets):
            if self._size < 0:
                position = self._read_header(octets, position)
            else:
                position = self._read_payload(octets, position)
            if self._size >= 0 and not self._left:
                frames.append(self._frame())
        return frames

    def _read_header(self, octets: bytes, position: int) -> int:
        held = len(self._header)
        start = self._header + octets[position : position + _MOST_OF_HEADER - held]
        if not frame_size(start, 0):  # which knows nothing of it before the header is whole
            self._header = start
            return len(octets)
        masked, short = start[1] & 0x80, start[1] & 0x7F
        extended = {126: 2, 127: 8}.get(short, 0)
        end = 2 + extended + (4 if masked else 0)
        self._size = int.from_bytes(start[2 : 2 + extended], "big") if extended else short
        self._key = start[end - 4 : end] if masked else b""
        self._header = start[:end]
        self._left = self._size
        self._kept.clear()
        return position + end - held

    def _read_payload(self, octets: bytes, position: int) -> int:
        end = min(len(octets), position + self._left)
        room = KEPT - len(self._kept)
        self._kept += octets[position : min(end, position + room)]
        self._left -= end - position
        return end

    def _frame(self) -> Frame:
        first = self._header[0]
        payload = bytes(self._kept)
        if self._key:
            key = self._key
            payload = bytes(octet ^ key[index & 3] for index, octet in enumerate(payload))
        frame = Frame(first & 15, bool(first & 0x80), self._size, payload, bool(first & 0x40))
        self._size = -1
        self._header = b""
        return frame
