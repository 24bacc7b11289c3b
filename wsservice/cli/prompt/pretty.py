"""Indent JSON. PURE.

Numbers, names and their order stay as they came: this module indents the text itself, not a parsed
value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn

_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"\[\]{}:,]+|[\[\]{}:,]')

_INDENT = "  "

Paint = Callable[[str, str], str]
"""Colours a text as a "name", a "string" or a "value"."""


def pretty(text: str, limit: int, paint: Paint) -> str | None:
    """Return JSON on several lines, printable; None if `text` is not JSON, or becomes too long.

    Only objects and arrays are indented. `limit` is the most characters, colours not counted.
    """
    if not text.lstrip(" \t\r\n").startswith(("{", "[")) or not _is_json(text):
        return None
    pieces: list[str] = []
    room = limit
    depth = 0
    parts = _PART.findall(text)
    for before, part, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
        depth += (part in ("{", "[")) - (part in ("}", "]"))
        piece = _printable(part)
        room -= len(piece)
        if part in ("}", "]") and before not in ("{", "["):
            pieces.append("\n" + depth * _INDENT)
        pieces.append(paint(_kind(part, after), piece))
        if part == ":":
            pieces.append(" ")
        elif part == "," or (part in ("{", "[") and after not in ("}", "]")):
            pieces.append("\n" + depth * _INDENT)
        room -= 1 + depth * len(_INDENT) * (pieces[-1][0] == "\n")
        if room < 0:
            return None
    return "".join(pieces)


def _is_json(text: str) -> bool:
    try:
        # Numbers are not converted: one of a million digits would take long.
        json.loads(text, parse_int=len, parse_float=len, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _kind(part: str, after: str) -> str:
    if part[0] == '"':
        return "name" if after == ":" else "string"
    return "" if part in "{}[]:," else "value"


def _printable(part: str) -> str:
    if part.isprintable():
        return part
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in part)
