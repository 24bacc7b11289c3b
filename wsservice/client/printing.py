"""How a message is printed. PURE."""

from __future__ import annotations

import base64
from collections.abc import Callable

from ..lines import describe

BINARY_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda payload: payload,
    "hex": lambda payload: payload.hex().encode(),
    "base64": base64.b64encode,
}
"""What becomes of a binary message, by the name that `--binary` has for it."""

_LONGEST_ESCAPE = 10
"""Octets that one of a message may become: `\\U0001f600` at most, of four."""


def as_printed(payload: bytes, isBinary: bool, form: str) -> bytes:
    """A message as it goes into a pipe or a file, without its end. `form` is of `BINARY_FORMS`."""
    return BINARY_FORMS[form](payload) if isBinary else payload


def for_people(payload: bytes, isBinary: bool, form: str) -> bytes:
    """The same, safe for a terminal: nothing in it moves a cursor or changes a colour."""
    if isBinary and form != "raw":
        return as_printed(payload, isBinary, form)
    return describe(payload, isBinary, _LONGEST_ESCAPE * len(payload) + 2).encode()
