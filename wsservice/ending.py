"""How a connection ends in good order: the closing handshake, its common case.

Autobahn's state machine makes four objects for a frame, which is much for the
last one of each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_CLOSE = 0x88
"""The first octet of a close frame: final, no extension."""

_MASKED = 0x80
_HEADER = 2
_KEY = 4
_LONGEST = 125
"""Octets of a control frame's payload (RFC 6455, 5.5)."""


class Ending:
    """Reads a client's close frame that came whole. To be mixed in before Autobahn's protocol."""

    # Autobahn's
    data: bytes
    current_frame: Any
    onCloseFrame: Callable[[int | None, bytes | None], bool | None]

    def processData(self) -> bool:
        """Read a frame, or a part of it: Autobahn's, but for a whole close frame."""
        frame = self.data
        if self.current_frame is not None or not _is_close(frame):
            return bool(super().processData())  # type: ignore[misc]
        self.data = b""
        key, masked = frame[_HEADER : _HEADER + _KEY], frame[_HEADER + _KEY :]
        payload = bytes(octet ^ key[i & 3] for i, octet in enumerate(masked))
        code = int.from_bytes(payload[:2], "big") if payload else None
        self.onCloseFrame(code, payload[2:] or None)
        return False


def _is_close(frame: bytes) -> bool:
    """Whether this is a close frame as it should be, whole and nothing else."""
    if len(frame) < _HEADER + _KEY or frame[0] != _CLOSE:
        return False
    size = frame[1] - _MASKED
    return 0 <= size <= _LONGEST and size != 1 and len(frame) == _HEADER + _KEY + size
