"""The signature of a batch, as Standard Webhooks (standardwebhooks.com) has it. PURE."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = b"whsec_"
"""What begins a secret that is octets in base64. Any other stands for itself."""


def key_of(secret: bytes) -> bytes:
    """The key in a secret. Raises `ValueError`."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def headers(key: bytes, name: str, now: int, body: bytes) -> dict[str, str]:
    """What tells a receiver that a body is ours, and when it was sent.

    `name` is the batch's, the same each time that it is sent.
    """
    signed = f"{name}.{now}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
