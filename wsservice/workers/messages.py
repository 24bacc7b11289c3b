"""What parent and worker say to each other. PURE.

A frame is its length and a body. A body is a publication, or a page of a history, in
octets, or anything else, as an object of JSON whose member `say` tells what it is.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import attrs

from ..channels import Position
from ..envelopes import Fetched
from ..history import Entry, Missed

FIRST = 3
"""The descriptors of a worker from here on: the bus, its log, messages, then one for each port."""

LONGEST = 64 * 1024 * 1024
"""Octets of the longest body."""

LONGEST_KEPT = LONGEST - 1024 * 1024
"""Octets of the longest message, its channel included, that can be in a history: there is room
for what is said of it, in a publication and in a page."""

_LENGTH = struct.Struct("!I")
LENGTH = _LENGTH.size
"""Octets that tell the length of a body, the highest first."""

_PUBLICATION = struct.Struct("!cBQI")
_MARK = b"p"
_BINARY, _STAMPED, _KEPT = 1, 2, 4
_STAMP = struct.Struct("!QdB")

_PAGE = struct.Struct("!cII")
_PAGE_MARK = b"h"


class MessageError(ValueError):
    """What came is nothing that this program says."""


def framed(body: bytes) -> bytes:
    """A body with its length. Raises `MessageError` for one that is too long."""
    if len(body) > LONGEST:
        raise MessageError(f"{len(body)} octets are more than {LONGEST}")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes octets as they come, gives bodies."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = _LENGTH.size

    def feed(self, octets: bytes) -> list[bytes]:
        """The bodies that are whole by now. Raises `MessageError` for one that is too long."""
        self._parts.append(octets)
        self._size += len(octets)
        if self._size < self._needed:  # of a long body, no part is looked at twice
            return []
        data = b"".join(self._parts)
        bodies = []
        start = 0
        self._needed = _LENGTH.size
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > LONGEST:
                raise MessageError(f"{length} octets are more than {LONGEST}")
            begin = start + _LENGTH.size
            if len(data) - begin < length:
                self._needed += length
                break
            start = begin + length
            bodies.append(data[begin:start])
        self._parts = [data[start:]]
        self._size = len(data) - start
        return bodies


@attrs.frozen
class Stamp:
    """What a message gets as it takes its place in the history: its time, in seconds since 1970.

    `kept` is false where it alone is too large: it has a place, and is not there.
    """

    position: Position
    time: float
    kept: bool = True


@attrs.frozen
class Publication:
    """A message for all on a channel. `request` is 0 where nobody waits for the counts."""

    channel: str
    payload: bytes
    binary: bool = False
    request: int = 0
    stamp: Stamp | None = None

    def body(self) -> bytes:
        """As it goes over the bus."""
        channel = self.channel.encode(errors="surrogatepass")
        flags = _BINARY * self.binary
        if self.stamp is None:
            head = _PUBLICATION.pack(_MARK, flags, self.request, len(channel))
            return head + channel + self.payload
        flags |= _STAMPED | _KEPT * self.stamp.kept
        head = _PUBLICATION.pack(_MARK, flags, self.request, len(channel))
        position = self.stamp.position
        epoch = position.epoch.encode()
        stamp = _STAMP.pack(position.offset, self.stamp.time, len(epoch))
        return b"".join([head, channel, stamp, epoch, self.payload])


def said(what: str, **members: Any) -> bytes:
    """The body of anything else."""
    return json.dumps({"say": what, **members}).encode()


def parsed(body: bytes) -> dict[str, Any]:
    """What a body says that is no publication. Raises `MessageError`."""
    try:
        message = json.loads(body)
    except ValueError:
        raise MessageError("neither a publication nor JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("say"), str):
        raise MessageError("an object that does not tell what it is")
    return message


def is_publication(body: bytes) -> bool:
    """Whether a body is a publication, which may be passed on as it is."""
    return body[:1] == _MARK


def publication(body: bytes) -> Publication:
    """The publication that a body is. Raises `MessageError`."""
    try:
        _, flags, request, length = _PUBLICATION.unpack_from(body)
        start = _PUBLICATION.size + length
        if start > len(body):
            raise MessageError("a publication that is cut short")
        channel = body[_PUBLICATION.size : start].decode(errors="surrogatepass")
        stamp = None
        if flags & _STAMPED:
            stamp, start = _stamp(body, start, bool(flags & _KEPT))
    except (struct.error, UnicodeDecodeError):
        raise MessageError("a publication that is none") from None
    return Publication(channel, body[start:], bool(flags & _BINARY), request, stamp)


def _stamp(body: bytes, start: int, kept: bool) -> tuple[Stamp, int]:
    """What stands at a place of a publication, and where it ends."""
    offset, time, length = _STAMP.unpack_from(body, start)
    start += _STAMP.size
    end = start + length
    if end > len(body):
        raise MessageError("a publication that is cut short")
    return Stamp(Position(offset, body[start:end].decode()), time, kept), end


@attrs.frozen
class Page:
    """What of a channel somebody missed: the answer to a request."""

    request: int
    channel: str
    missed: Missed

    def body(self) -> bytes:
        """As it goes over the bus."""
        missed = self.missed
        entries = missed.entries
        head = json.dumps(
            {
                "request": self.request,
                "offset": missed.position.offset,
                "epoch": missed.position.epoch,
                "gap": missed.gap,
                # All of a page have the epoch of its end.
                "entries": [
                    [each.offset, each.time, each.isBinary, len(each.payload)] for each in entries
                ],
            }
        ).encode()
        channel = self.channel.encode(errors="surrogatepass")
        lengths = _PAGE.pack(_PAGE_MARK, len(head), len(channel))
        return b"".join([lengths, head, channel, *(each.payload for each in entries)])


def is_page(body: bytes) -> bool:
    """Whether a body is a page."""
    return body[:1] == _PAGE_MARK


def page(body: bytes) -> Page:
    """The page that a body is. Raises `MessageError`."""
    try:
        _, length, channel_length = _PAGE.unpack_from(body)
        end = _PAGE.size + length
        start = end + channel_length
        head = json.loads(body[_PAGE.size : end])
        channel = body[end:start].decode(errors="surrogatepass")
        position = Position(int(head["offset"]), str(head["epoch"]))
        entries: list[Entry] = []
        for offset, time, binary, size in head["entries"]:
            payload = body[start : start + size]
            start += size
            entries.append(
                Fetched(channel, int(offset), position.epoch, float(time), payload, bool(binary))
            )
        if start != len(body):
            raise MessageError("a page of another length than it says")
        missed = Missed(entries, position, bool(head["gap"]))
        return Page(int(head["request"]), channel, missed)
    except MessageError:
        raise
    except (struct.error, ValueError, LookupError, TypeError):
        raise MessageError("a page that is none") from None
