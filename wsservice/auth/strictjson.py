"""Read JSON of others so that it has one meaning only. PURE."""

from __future__ import annotations

import json
from typing import Any, NoReturn

MOST_DEPTH = 32
"""The most arrays and objects within each other. Code that walks them is often recursive."""


def parse_object(octets: bytes) -> dict[str, Any]:
    """Return the object in a JSON text. Raises `ValueError`, whose text has nothing of it.

    A name that comes twice in an object is refused (RFC 7515, 4), so that no other reader of the
    text can have seen another value; so are numbers that are none (RFC 8259, 6).
    """
    try:
        text = octets.decode()
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON, or has a name twice") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    if text.count("[") + text.count("{") > MOST_DEPTH and _depth(value) > MOST_DEPTH:
        raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


# Made once: `json.loads` makes one for each call, which takes longer than a small text does.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _depth(value: dict[str, Any]) -> int:
    """Return the arrays and objects within each other, at most one more than is allowed."""
    depth = 0
    level: list[Any] = [value]
    while level and depth <= MOST_DEPTH:
        depth += 1
        inner = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
        level = [each for each in inner if isinstance(each, dict | list)]
    return depth
