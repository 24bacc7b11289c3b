"""What is said before a connection is open, line by line, as curl's -v shows it."""

from __future__ import annotations

from collections.abc import Callable

from ..escape import escape
from .credentials import is_secret


class Trace:
    """Tells `write` each line, printable, without secrets. Tells nobody if that is None."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write

    def note(self, text: str) -> None:
        """Something that happened. The text is printable."""
        if self._write is not None:
            self._write(f"* {text}")

    def sent(self, head: bytes) -> None:
        """The head of a request."""
        self._head(">", head)

    def received(self, head: bytes) -> None:
        """The head of an answer."""
        self._head("<", head)

    def _head(self, mark: str, head: bytes) -> None:
        if self._write is None:
            return
        for line in head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n"):
            self._write(f"{mark} {escape(_without_secret(line))}")
        self._write(mark)


def _without_secret(line: str) -> str:
    name, colon, value = line.partition(":")
    if not colon or " " in name or not is_secret(name):
        return line
    scheme, space, _ = value.strip().partition(" ")
    shown = f"{scheme} ***" if space and name.lower().endswith("authorization") else "***"
    return f"{name}: {shown}"
