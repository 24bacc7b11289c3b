"""Format messages for output. PURE."""

from __future__ import annotations

import base64
from collections.abc import Callable

from ..log.lines import describe

BINARY_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda payload: payload,
    "hex": lambda payload: payload.hex().encode(),
    "base64": base64.b64encode,
}
"""The forms in which `--binary` prints a binary message, by name."""

_LONGEST_ESCAPE = 10
"""The most octets that one octet of a message may become: `\\U0001f600`, of four."""


def as_printed(payload: bytes, is_binary: bool, form: str) -> bytes:
    """Return a message for a pipe or a file, without an end. `form` is a key of `BINARY_FORMS`."""
    return BINARY_FORMS[form](payload) if is_binary else payload


def for_people(payload: bytes, is_binary: bool, form: str) -> bytes:
    """Return a message for a terminal: nothing in it moves the cursor or changes a colour."""
    if is_binary and form != "raw":
        return as_printed(payload, is_binary, form)
    return describe(payload, is_binary, _LONGEST_ESCAPE * len(payload) + 2).encode()
