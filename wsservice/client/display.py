"""What a person sees of a connection: lines with a time and a mark. PURE.

Whatever came from the server is escaped here: the only escape codes in a line
are its own colours.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ..escape import escape
from ..lines import describe
from .pretty import pretty
from .stats import counted

_MOST_TEXT = 256 * 1024
_MOST_HEX = 64
"""Octets of a message that are shown, and of a binary one, as hex digits."""

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
"""Of what is shown, by SGR's numbers (ECMA-48, 8.3.117)."""

_MARKS = {"received": "<", "sent": ">", "note": "·", "problem": "·"}


def wants_color(when: str, environment: Mapping[str, str]) -> bool:
    """Whether there are to be colours: `when` is always, never, or auto (no-color.org)."""
    return when == "always" or (when == "auto" and not environment.get("NO_COLOR"))


class Display:
    """Makes lines. `color` is whether with colours, `json` whether JSON is indented."""

    def __init__(self, *, color: bool, json: bool) -> None:
        self.color = color
        self.json = json

    def received(self, at: float, payload: bytes, isBinary: bool) -> str:
        """A message that came in, at a time of `time.time()`."""
        return self._line("received", at, self._message(payload, isBinary))

    def sent(self, at: float, what: str) -> str:
        """A message that was sent, as `described`, or `described_file`, has it."""
        return self._line("sent", at, what)

    def kept(self, at: float, what: str) -> str:
        """One that is to be sent when there is a connection."""
        return self._line("note", at, f"kept until there is a connection: {what}")

    def note(self, at: float, text: str) -> str:
        """What else happened. `text` is printable."""
        return self._line("note", at, text)

    def problem(self, at: float, text: str) -> str:
        """What went wrong. `text` is printable."""
        return self._line("problem", at, self._paint("problem", text))

    def block(self, lines: Iterable[str]) -> str:
        """What was asked for, a line each, printable."""
        return "".join(f"  {line}\n" for line in lines)

    def _line(self, kind: str, at: float, text: str) -> str:
        clock = self._paint("time", time.strftime("%H:%M:%S", time.localtime(at)))
        return f"{clock} {self._paint(kind, _MARKS[kind])} {text}\n"

    def _message(self, payload: bytes, isBinary: bool) -> str:
        if self.json and not isBinary and len(payload) <= _MOST_TEXT:
            shown = pretty(payload.decode(), _MOST_TEXT, self._paint)
            if shown is not None:
                return shown
        return described(payload, isBinary)

    def _paint(self, what: str, text: str) -> str:
        return f"\x1b[{_COLORS[what]}m{text}\x1b[0m" if self.color and what else text


def described(payload: bytes, isBinary: bool) -> str:
    """A message, in a printable line."""
    return describe(payload, isBinary, _MOST_HEX if isBinary else _MOST_TEXT)


def described_file(path: str, size: int, isBinary: bool) -> str:
    """What is in a file, and is a message, in a printable line."""
    kind = "binary" if isBinary else "text"
    return f"{escape(path)} ({kind}, {counted(size, 'byte')})"
