"""Show the handshakes line by line, as curl's -v does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..escape import MASK, escape, is_secret, masked, shown_query, shown_subprotocol, shown_url

_SUBPROTOCOL = "sec-websocket-protocol"
_URLS = {"location", "content-location", "link", "origin", "referer", "refresh"}


class HandshakeTrace:
    """Call `write` with each line, printable and without secrets; with None, do nothing.

    `secrets` are texts that no line shows anywhere.
    """

    def __init__(
        self, write: Callable[[str], None] | None = None, secrets: Sequence[str] = ()
    ) -> None:
        self._write = write
        self._secrets = secrets

    def note(self, text: str) -> None:
        """Show an event. The text is printable."""
        if self._write is not None:
            self._write(f"* {text}")

    def sent(self, head: bytes) -> None:
        """Show the head of a request."""
        self._head(">", head)

    def received(self, head: bytes) -> None:
        """Show the head of an answer."""
        self._head("<", head)

    def _head(self, mark: str, head: bytes) -> None:
        if self._write is None:
            return
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        # In the line of a request, the query ends before the version.
        target, space, version = first.rpartition(" ") if mark == ">" else ("", "", first)
        for line in [f"{shown_query(target)}{space}{version}", *map(_without_secret, lines)]:
            self._write(f"{mark} {escape(masked(line, self._secrets))}")
        self._write(mark)


def _without_secret(line: str) -> str:
    name, colon, value = line.partition(":")
    lowered = name.lower()
    if not colon:
        return line
    if lowered == _SUBPROTOCOL:
        shown = ", ".join(shown_subprotocol(each.strip()) for each in value.split(","))
    elif lowered in _URLS:
        shown = shown_url(value.strip())
    elif is_secret(name):
        scheme, space, _ = value.strip().partition(" ")
        shown = f"{scheme} {MASK}" if space and lowered.endswith("authorization") else MASK
    else:
        return line
    return f"{name}: {shown}"
