"""Turn messages into frames: compressed, in fragments, masked."""

from __future__ import annotations

import os
from typing import Any

from . import frames
from .compression import deflate
from .sending import PreparedMessage


def new_key(masks: bool) -> bytes:
    """Return a new key to mask a frame with, empty if frames are not masked."""
    # Keys must be unpredictable for the application that chooses payloads (RFC 6455, 10.3).
    # Otherwise a script could write octets of its choice past a proxy.
    return os.urandom(4) if masks else b""


class Framing:
    """The way of a connection's messages into frames, if payloads do not go out unchanged.

    `extension` compresses messages, None for no compression. `masks` is as in `new_key`.
    """

    __slots__ = ("_extension", "_masks")

    def __init__(self, extension: Any, masks: bool) -> None:
        self._extension = extension
        self._masks = masks

    def framed(
        self, payload: bytes, is_binary: bool, fragment_size: int | None, compressed: bool
    ) -> bytes:
        """Return a message as one frame or several, of at most `fragment_size` octets each."""
        first = 2 if is_binary else 1
        extension = self._extension
        if compressed and extension is not None:
            extension.start_compress_message()
            payload = extension.compress_message_data(payload)
            payload += extension.end_compress_message()
            first |= 0x40
        size = fragment_size or len(payload)
        # All frames are one entry of the queue, so that none is ever left out alone. An empty
        # message is a frame too, hence `or 1`.
        starts = range(0, len(payload) or 1, size or 1)
        return b"".join(
            frames.encode(
                (0 if start else first) | (0x80 if start == starts[-1] else 0),
                payload[start : start + size],
                new_key(self._masks),
            )
            for start in starts
        )

    def frame_of(self, message: PreparedMessage) -> bytes:
        """Return a prepared message as one frame. Only a server's connections send those."""
        extension = self._extension
        if extension is None or message.doNotCompress:
            return message.plain
        # The message enters the peer's window, but not our compressor's. With a new compressor our
        # next message refers to nothing, so both windows agree.
        extension._compressor = None
        return message.compressed(extension.server_max_window_bits, deflate)

    @property
    def keeps_context(self) -> bool:
        """True if compressed messages refer to earlier ones."""
        if self._extension is None:
            return False
        end = "client" if self._masks else "server"
        return not getattr(self._extension, f"{end}_no_context_takeover")
