"""Read a close frame of a client that came whole: the common end of a connection.

Autobahn's state machine makes four objects for each frame. That is a lot for the last frame of each
of many short connections.
"""

from __future__ import annotations

_CLOSE = 0x88
"""The first octet of a close frame: final, no extension."""

_MASKED = 0x80
_HEADER_OCTETS = 2
_KEY_OCTETS = 4
_PAYLOAD_OCTETS = 125
"""Octets of the longest payload of a control frame (RFC 6455, 5.5)."""


def masked_close(frame: bytes) -> tuple[int | None, bytes | None] | None:
    """Return the code and the reason of a client's close frame, None for any other octets.

    The frame must be whole, valid and masked. Its code is None if it has none.
    """
    if not _is_close(frame):
        return None
    key, masked = (
        frame[_HEADER_OCTETS : _HEADER_OCTETS + _KEY_OCTETS],
        frame[_HEADER_OCTETS + _KEY_OCTETS :],
    )
    payload = bytes(octet ^ key[i & 3] for i, octet in enumerate(masked))
    code = int.from_bytes(payload[:2], "big") if payload else None
    return code, payload[2:] or None


def _is_close(frame: bytes) -> bool:
    """Return True for octets that are one whole, valid close frame with a mask."""
    if len(frame) < _HEADER_OCTETS + _KEY_OCTETS or frame[0] != _CLOSE:
        return False
    # A size of 1 is half a code, which is an error (RFC 6455, 5.5.1). Autobahn reports it.
    size = frame[1] - _MASKED
    return (
        0 <= size <= _PAYLOAD_OCTETS
        and size != 1
        and len(frame) == _HEADER_OCTETS + _KEY_OCTETS + size
    )
