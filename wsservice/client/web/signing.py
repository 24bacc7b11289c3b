"""Sign a batch by the rules of Standard Webhooks (standardwebhooks.com). PURE."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = b"whsec_"
"""The prefix of a secret in base64. A secret without it is used as it is."""


def key_of(secret: bytes) -> bytes:
    """Return the key in a secret. Raises `ValueError` for malformed base64 behind the prefix."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def headers(key: bytes, name: str, now: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a body sent at `now`, in seconds since 1970.

    `name` identifies the batch. It stays the same at each attempt.
    """
    signed = f"{name}.{now}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
