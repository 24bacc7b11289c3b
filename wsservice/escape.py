"""What a peer sent, made safe to print. PURE.

Whatever goes from a peer to a log or a terminal passes here. The result is
one line: nothing in it moves a cursor, changes a colour, turns the writing
direction or starts a line of its own. It can be read back: a backslash is
doubled, the rest is written as in a Python string literal.
"""

from __future__ import annotations

import json

_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_ASCII = bytes(code for code in range(0x20, 0x7F) if chr(code) not in _NAMED)


def _escape_character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class _Escapes(dict[int, str]):
    """For `str.translate`. Only what was there from the start is kept: the rest is a million."""

    def __missing__(self, code: int) -> str:
        return _escape_character(chr(code))


_ESCAPES = _Escapes({code: _escape_character(chr(code)) for code in range(0x100)})


def _quote_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # half of a character: not for every reader of JSON
        return "\ufffd"
    return json.dumps(character)[1:-1] if code != 0x7F else "\\u007f"


class _Quotes(dict[int, str]):
    """As `_Escapes`."""

    def __missing__(self, code: int) -> str:
        return _quote_character(chr(code))


_QUOTES = _Quotes({code: _quote_character(chr(code)) for code in range(0x100)})


def quote(text: str) -> str:
    """`text` as a string of JSON, printable, from which a reader of JSON gets it back.

    Only halves of surrogate pairs are replaced, by U+FFFD.
    """
    return f'"{text.translate(_QUOTES)}"'


def is_plain(octets: bytes) -> bool:
    """Whether octets are UTF-8 text that `escape` leaves as it is."""
    if not octets.translate(None, _PLAIN_ASCII):
        return True
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and "\\" not in text


def escape(text: str) -> str:
    """`text` as one printable line.

    What `str.isprintable` says no to is escaped: controls, line and paragraph
    separators, format characters (the bidirectional overrides among them),
    surrogates, unassigned code points, and every space but U+0020.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def escape_within(text: str, limit: int) -> tuple[str, bool]:
    """`escape(text)`, cut to at most `limit` octets of UTF-8, and whether it was cut.

    Never cuts within a character or an escape.
    """
    escaped = escape(text[: limit + 1])
    if len(text) <= limit and len(escaped.encode()) <= limit:
        return escaped, False
    kept = []
    room = limit
    for character in text[:limit]:
        piece = _ESCAPES[ord(character)]
        room -= len(piece.encode())
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept), True
