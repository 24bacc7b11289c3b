"""Read a compressed message that came whole, in one frame, at one go."""

from __future__ import annotations

import codecs

from autobahn.exception import PayloadCorruptError, PayloadExceededError

from ..config.close_codes import CloseCode
from . import frames
from .common import Common
from .compression import Deflate, TooManyBlocksError, inflate, most_compressed
from .fragments import TOO_BIG

_BINARY = b"\x82"
_TEXT = 0xC1
FIRST_OCTETS = (_TEXT, 0xC2)
"""First octets of frames that are whole compressed messages (RFC 6455, 5.2, and RFC 7692, 6)."""

NO_TEXT = "invalid UTF-8 in a text message"


class BadMessageError(Exception):
    """A message that the peer must not send. It has the code and reason for a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def message_of(frame: bytes, extension: Deflate, common: Common) -> tuple[bytes, bool] | None:
    """Return the message of a frame, and True if it is binary; None if Autobahn must read it.

    Raises `BadMessageError`.
    """
    masked, limit, _ = common.decoding
    # The same frame as a binary one, which the codec takes as it is.
    messages, _ = frames.decode(_BINARY + frame[1:], 0, masked, most_compressed(limit), 1)
    if not messages:
        return None
    is_text = frame[0] == _TEXT
    return _inflated(extension, messages[0][0], is_text, limit), not is_text


def _inflated(extension: Deflate, octets: bytes, is_text: bool, limit: int) -> bytes:
    """Return an inflated message of at most `limit` octets (0: any number)."""
    try:
        payload = inflate(extension, octets, limit)
    except PayloadExceededError:
        raise BadMessageError(CloseCode.TOO_BIG, TOO_BIG) from None
    except PayloadCorruptError as error:
        reason = f"a message cannot be decompressed: {error}"
        raise BadMessageError(CloseCode.INVALID_PAYLOAD, reason) from None
    except TooManyBlocksError as error:
        raise BadMessageError(CloseCode.POLICY_VIOLATION, str(error)) from None
    too_big = 0 < limit < len(payload)
    if is_text and not _is_text(payload, not too_big):
        raise BadMessageError(CloseCode.INVALID_PAYLOAD, NO_TEXT)
    if too_big:
        raise BadMessageError(CloseCode.TOO_BIG, TOO_BIG)
    return payload


def _is_text(octets: bytes, whole: bool) -> bool:
    """Return True if octets are UTF-8. If they are not `whole`, the last character may be cut."""
    if octets.isascii():
        return True
    try:
        codecs.utf_8_decode(octets, "strict", whole)
    except UnicodeDecodeError:
        return False
    return True
