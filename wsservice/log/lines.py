"""The formats of a line of the message log: text and JSON.

The lines of all messages of one turn of the reactor are made at once. That is cheaper: the check
for characters to escape runs once for all messages that one connection sent.
"""

from __future__ import annotations

import base64
import codecs
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from twisted.logger import formatTime

from ..escape import escape_within, is_plain, quote
from .peer import nameless, user_in

_decoder = codecs.getincrementaldecoder("utf-8")


class Lines(Protocol):
    """A format of lines."""

    def name(self, who: str, channel: str) -> str:
        """Return the name of a connection in lines. `who` is its id and peer, perhaps a `Who`."""

    def lines(self, held: list[Any], limit: int) -> bytes:
        """Return the lines of one or more messages, each with its line end, without the time.

        `held` repeats three items: a connection's name, a payload, and True if it is binary.
        `limit` is the number of octets of a message to show.
        """

    def stamp(self, now: float) -> bytes:
        """Return the prefix of each line. `now` is the time in seconds since 1970."""


def describe(payload: bytes, is_binary: bool, limit: int) -> str:
    """Return the text of a message for a line of text.

    It has at most `limit` octets of the payload, and the full size if that is not all. Text is
    escaped; a binary payload is shown as its size and hex digits. With a `limit` of 0 the text
    has the size only.
    """
    size = len(payload)
    octets = "1 byte" if size == 1 else f"{size} bytes"
    if is_binary:
        if not limit:
            return f"(binary, {octets})"
        shown = payload[: limit // 2]
        dots = "..." if len(shown) < size else ""
        return f"(binary, {octets}) {shown.hex()}{dots}"
    if not limit:
        return f"({octets})"
    if size <= limit and is_plain(payload):
        return payload.decode()
    # Not final: this leaves out a character that the cut splits. Octets that are not UTF-8, which
    # a behaviour may log of its own accord, show as escaped surrogates.
    text = _decoder("surrogateescape").decode(payload[:limit], size <= limit)
    escaped, cut = escape_within(text, limit)
    return f"{escaped}... ({octets})" if cut or size > limit else escaped


def _plain(payloads: list[bytes], kinds: list[bool], limit: int) -> bool:
    """Return True if all payloads are shown unchanged."""
    if any(kinds) or not limit or max(map(len, payloads)) > limit:
        return False
    # The space keeps the end of one payload and the beginning of the next from forming a
    # character.
    return is_plain(b" ".join(payloads))


class TextLines:
    """`2026-11-24T04:50:34+0000 [7 192.0.2.1:5000] Message received: hello`"""

    def __init__(self) -> None:
        self._stamp = (b"", -1)

    def name(self, who: str, channel: str) -> str:
        return who

    def lines(self, held: list[Any], limit: int) -> bytes:
        payloads, kinds = held[1::3], held[2::3]
        plain = _plain(payloads, kinds, limit)
        pieces: list[bytes] = []
        start = 0
        for who, run in groupby(held[::3]):
            end = start + len(list(run))
            head = f"\n[{who}] Message received: ".encode()
            texts = payloads[start:end]
            # One peer's escapes do not slow down the lines of other peers.
            if not plain and not _plain(texts, kinds[start:end], limit):
                both = zip(texts, kinds[start:end], strict=True)
                texts = [
                    describe(payload, is_binary, limit).encode() for payload, is_binary in both
                ]
            pieces += head, head.join(texts)
            start = end
        pieces.append(b"\n")
        return b"".join(pieces)[1:]

    def stamp(self, now: float) -> bytes:
        second = int(now)
        if self._stamp[1] != second:
            self._stamp = (f"{formatTime(second)} ".encode(), second)
        return self._stamp[0]


def rfc3339(now: float) -> str:
    """Return a time, in seconds since 1970, as RFC 3339 text in UTC, to the millisecond."""
    text = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _members(payload: bytes, is_binary: bool, limit: int) -> str:
    """Return a message as the members of a JSON object."""
    size = len(payload)
    shown = payload[:limit]
    if is_binary:
        kind, value = "binary", f'"{base64.b64encode(shown).decode()}"'
    else:
        # Cut as in `describe`. Octets that are not UTF-8 are replaced, since JSON cannot hold them.
        kind, value = "text", quote(_decoder("replace").decode(shown, size <= limit))
    cut = "true" if size > limit else "false"
    return f',"kind":"{kind}","size":{size},"payload":{value},"cut":{cut}}}'


class JSONLines:
    """A JSON object in each line, with the members listed in docs/operations.md."""

    def name(self, who: str, channel: str) -> str:
        connection, _, peer = nameless(who).partition(" ")
        name = f'"connection":{quote(connection)},"peer":{quote(peer)},"channel":{quote(channel)}'
        return f'{name},"user":{quote(user)}' if (user := user_in(who)) else name

    def lines(self, held: list[Any], limit: int) -> bytes:
        names, payloads, kinds = held[::3], held[1::3], held[2::3]
        pieces: list[bytes] = []
        start = 0
        for name, run in groupby(names):
            end = start + len(list(run))
            texts, binary = payloads[start:end], kinds[start:end]
            if _plain(texts, binary, limit) and b'"' not in b"".join(texts):
                head = f'{name},"kind":"text","size":'.encode()
                pieces += [
                    b'%b%d,"payload":"%b","cut":false}\n' % (head, len(text), text)
                    for text in texts
                ]
            else:
                pieces += [
                    f"{name}{_members(payload, is_binary, limit)}\n".encode()
                    for payload, is_binary in zip(texts, binary, strict=True)
                ]
            start = end
        return b"".join(pieces)

    def stamp(self, now: float) -> bytes:
        return f'{{"time":"{rfc3339(now)}",'.encode()


FORMATS: dict[str, type[Lines]] = {"text": TextLines, "json": JSONLines}
"""The formats by their names in `Config.message_log_format`."""
