"""What a line of the message log looks like: text, or JSON.

Lines are made for all that came in one turn of the reactor at once: whether
text may be printed as it is, is asked once for all that one connection sent.
"""

from __future__ import annotations

import base64
import codecs
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from twisted.logger import formatTime

from .escape import escape_within, is_plain, quote

_decoder = codecs.getincrementaldecoder("utf-8")


class Lines(Protocol):
    """A form of lines."""

    def name(self, who: str, channel: str) -> str:
        """What lines call a connection, of its id and peer, and its channel."""

    def lines(self, held: list[Any], limit: int) -> bytes:
        """The lines of messages, at least one, each with its end, but for the time.

        `held` has a connection's name, the payload and isBinary, and again;
        `limit` is how many octets of a message are shown.
        """

    def stamp(self, now: float) -> bytes:
        """What stands before each line: the time, in seconds since 1970."""


def describe(payload: bytes, isBinary: bool, limit: int) -> str:
    """A message as it stands in a line of text.

    At most `limit` octets of it are shown, escaped, with the full size told
    where that is not all: text as it is, binary as its size and hex digits.
    0 tells sizes only.
    """
    size = len(payload)
    octets = "1 byte" if size == 1 else f"{size} bytes"
    if isBinary:
        if not limit:
            return f"(binary, {octets})"
        shown = payload[: limit // 2]
        dots = "..." if len(shown) < size else ""
        return f"(binary, {octets}) {shown.hex()}{dots}"
    if not limit:
        return f"({octets})"
    if size <= limit and is_plain(payload):
        return payload.decode()
    # Not final: a code point that the cut went through is left out. What is
    # not UTF-8, from a behaviour that logs something of its own, shows as
    # escaped surrogates.
    text = _decoder("surrogateescape").decode(payload[:limit], size <= limit)
    escaped, cut = escape_within(text, limit)
    return f"{escaped}... ({octets})" if cut or size > limit else escaped


def _plain(payloads: list[bytes], kinds: list[bool], limit: int) -> bool:
    """Whether all are shown as they are."""
    if any(kinds) or not limit or max(map(len, payloads)) > limit:
        return False
    # The space keeps the end of one and the beginning of the next from making
    # a character that neither has.
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
            # One peer's escapes make no work of what the others sent.
            if not plain and not _plain(texts, kinds[start:end], limit):
                both = zip(texts, kinds[start:end], strict=True)
                texts = [describe(payload, isBinary, limit).encode() for payload, isBinary in both]
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
    """A time in seconds since 1970, in UTC and to the millisecond."""
    text = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _members(payload: bytes, isBinary: bool, limit: int) -> str:
    """A message as members of an object of JSON."""
    size = len(payload)
    shown = payload[:limit]
    if isBinary:
        kind, value = "binary", f'"{base64.b64encode(shown).decode()}"'
    else:
        # As `describe` does, but what is not UTF-8 has no place in JSON.
        kind, value = "text", quote(_decoder("replace").decode(shown, size <= limit))
    cut = "true" if size > limit else "false"
    return f',"kind":"{kind}","size":{size},"payload":{value},"cut":{cut}}}'


class JSONLines:
    """An object of JSON in each line, as docs/operations.md has it."""

    def name(self, who: str, channel: str) -> str:
        connection, _, peer = who.partition(" ")
        return f'"connection":{quote(connection)},"peer":{quote(peer)},"channel":{quote(channel)}'

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
                    f"{name}{_members(payload, isBinary, limit)}\n".encode()
                    for payload, isBinary in zip(texts, binary, strict=True)
                ]
            start = end
        return b"".join(pieces)

    def stamp(self, now: float) -> bytes:
        return f'{{"time":"{rfc3339(now)}",'.encode()


FORMATS: dict[str, type[Lines]] = {"text": TextLines, "json": JSONLines}
"""By the names that `Config.message_log_format` has for them."""
