"""Format the lines that a person sees, with a time and a mark. PURE.

All text from the server is escaped here: a line contains no escape codes but its own colours.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ...escape import escape
from ...log.lines import describe
from .pretty import pretty
from .stats import counted

_MOST_TEXT = 256 * 1024
_MOST_HEX = 64
"""The most octets that are shown of a text message, and of a binary one, in hex."""

_COLORS = {
    "time": "2",
    "received": "1;36",
    "sent": "1;32",
    "note": "1;33",
    "problem": "1;31",
    "name": "34",
    "string": "32",
    "value": "35",
}
"""Colours, as parameters of SGR (ECMA-48, 8.3.117)."""

_MARKS = {"received": "<", "sent": ">", "note": "·", "problem": "·"}


def wants_color(when: str, environment: Mapping[str, str]) -> bool:
    """Return True if colours are wanted. `when` is always, never, or auto (no-color.org)."""
    return when == "always" or (when == "auto" and not environment.get("NO_COLOR"))


class Display:
    """Format lines. `color` switches colours, and `json` the indentation of JSON."""

    def __init__(self, *, color: bool, json: bool) -> None:
        self.color = color
        self.json = json

    def received(self, at: float, payload: bytes, is_binary: bool) -> str:
        """Return the line of a message that came. `at` is a time of `time.time()`."""
        return self._line("received", at, self._message(payload, is_binary))

    def sent(self, at: float, what: str) -> str:
        """Return the line of a message that was sent.

        `what` comes from `described` or `described_file`.
        """
        return self._line("sent", at, what)

    def kept(self, at: float, what: str) -> str:
        """Return the line of a message that is kept until there is a connection."""
        return self._line("note", at, f"kept until there is a connection: {what}")

    def note(self, at: float, text: str) -> str:
        """Return the line of another event. `text` is printable."""
        return self._line("note", at, text)

    def problem(self, at: float, text: str) -> str:
        """Return the line of an error. `text` is printable."""
        return self._line("problem", at, self._paint("problem", text))

    def block(self, lines: Iterable[str]) -> str:
        """Return several printable lines, indented."""
        return "".join(f"  {line}\n" for line in lines)

    def _line(self, kind: str, at: float, text: str) -> str:
        clock = self._paint("time", time.strftime("%H:%M:%S", time.localtime(at)))
        return f"{clock} {self._paint(kind, _MARKS[kind])} {text}\n"

    def _message(self, payload: bytes, is_binary: bool) -> str:
        if self.json and not is_binary and len(payload) <= _MOST_TEXT:
            shown = pretty(payload.decode(), _MOST_TEXT, self._paint)
            if shown is not None:
                return shown
        return described(payload, is_binary)

    def _paint(self, what: str, text: str) -> str:
        return f"\x1b[{_COLORS[what]}m{text}\x1b[0m" if self.color and what else text


def described(payload: bytes, is_binary: bool) -> str:
    """Return a message as one printable line."""
    return describe(payload, is_binary, _MOST_HEX if is_binary else _MOST_TEXT)


def described_file(path: str, size: int, is_binary: bool) -> str:
    """Return a file that is sent as one printable line. `size` is in octets."""
    kind = "binary" if is_binary else "text"
    return f"{escape(path)} ({kind}, {counted(size, 'byte')})"
