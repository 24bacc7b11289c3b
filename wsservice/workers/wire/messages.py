"""The messages between parent and worker that carry payloads, in binary. PURE.

A body is a publication or a page of a history, or JSON: see `coding`.
"""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Callable, Mapping
from typing import ClassVar

import attrs

from ...channels.history import Missed
from ...channels.message import ChannelMessage
from ...channels.query import Position
from .coding import BusMessage, BusQuestion
from .framing import LONGEST, MessageError

FIRST = 3
"""A worker's first descriptor of ours. In order: bus, log, message log, one for each port."""

PARENTS_SIGNALS = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""The signals that only the parent acts on. A worker starts with them blocked, since a program
inherits the mask, and unblocks them once it has its handlers."""

MARGIN = 5.0
"""Seconds beyond `Config.drain` that a worker may take to end."""

QUESTIONS_AT_ONCE = 64
"""Questions about presence that a worker asks, and a parent without a broker, before the first is
answered."""

LONGEST_KEPT = LONGEST - 1024 * 1024
"""The largest size, in octets, of a message in a history, its channel included. The rest is room
for the other fields of a publication and of a page."""

_PUBLICATION = struct.Struct("!cBQI")
_MARK = b"p"
_BINARY, _STAMPED, _KEPT = 1, 2, 4
_STAMP = struct.Struct("!QdB")

_PAGE = struct.Struct("!cII")
_PAGE_MARK = b"h"


@attrs.frozen
class Stamp:
    """The position and the time that a message gets in the history, in seconds since 1970.

    `kept` is False for a message too large for the history: it has a position, but is not kept.
    """

    position: Position
    time: float
    kept: bool = True


@attrs.frozen
class DeliveredCounts:
    """The numbers of a worker's connections that took a message, and that did not."""

    handed: int
    dropped: int


@attrs.frozen
class Publication(BusQuestion[DeliveredCounts]):
    """A message for all on a channel. `request` is 0 if the publisher does not wait for counts."""

    kind: ClassVar[str] = "publication"

    channel: str
    payload: bytes
    binary: bool = False
    request: int = 0
    stamp: Stamp | None = None

    @property
    def octets(self) -> int:
        """Return the octets of the message and its channel; a history takes `LONGEST_KEPT`."""
        return len(self.payload) + len(self.channel.encode(errors="surrogatepass"))

    def body(self) -> bytes:
        """Return the body for the bus."""
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


def is_publication(body: bytes) -> bool:
    """Return True if a body is a publication, which may be passed on unchanged."""
    return body[:1] == _MARK


def publication(body: bytes) -> Publication:
    """Return the publication in a body. Raises `MessageError`."""
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
        raise MessageError("a malformed publication") from None
    return Publication(channel, body[start:], bool(flags & _BINARY), request, stamp)


def _stamp(body: bytes, start: int, kept: bool) -> tuple[Stamp, int]:
    """Return the stamp at an offset of a publication, and the offset of its end."""
    offset, time, length = _STAMP.unpack_from(body, start)
    start += _STAMP.size
    end = start + length
    if end > len(body):
        raise MessageError("a publication that is cut short")
    return Stamp(Position(offset, body[start:end].decode()), time, kept), end


@attrs.frozen
class MissedPage(BusMessage):
    """A page of the messages that a subscriber missed: the answer to a request."""

    kind: ClassVar[str] = "page"

    request: int
    channel: str
    missed: Missed

    def body(self) -> bytes:
        """Return the body for the bus."""
        missed = self.missed
        entries = missed.entries
        head = json.dumps(
            {
                "request": self.request,
                "offset": missed.position.offset,
                "epoch": missed.position.epoch,
                "gap": missed.gap,
                "whole": missed.whole,
                # All messages of a page have the epoch of its end.
                "entries": [
                    [each.offset, each.time, each.is_binary, len(each.payload)] for each in entries
                ],
            }
        ).encode()
        channel = self.channel.encode(errors="surrogatepass")
        lengths = _PAGE.pack(_PAGE_MARK, len(head), len(channel))
        return b"".join([lengths, head, channel, *(each.payload for each in entries)])


def page(body: bytes) -> MissedPage:
    """Return the page in a body. Raises `MessageError`."""
    try:
        _, length, channel_length = _PAGE.unpack_from(body)
        end = _PAGE.size + length
        start = end + channel_length
        head = json.loads(body[_PAGE.size : end])
        channel = body[end:start].decode(errors="surrogatepass")
        position = Position(int(head["offset"]), str(head["epoch"]))
        entries: list[ChannelMessage] = []
        for offset, time, binary, size in head["entries"]:
            payload = body[start : start + size]
            start += size
            entries.append(
                ChannelMessage(
                    channel, payload, bool(binary), float(time), int(offset), position.epoch
                )
            )
        if start != len(body):
            raise MessageError("a page with a wrong length")
        # A parent of an earlier build says nothing of it.
        missed = Missed(entries, position, bool(head["gap"]), head.get("whole") is True)
        return MissedPage(int(head["request"]), channel, missed)
    except MessageError:
        raise
    except (struct.error, ValueError, LookupError, TypeError):
        raise MessageError("a malformed page") from None


BINARY: Mapping[bytes, Callable[[bytes], Publication | MissedPage]] = {
    _MARK: publication,
    _PAGE_MARK: page,
}
"""The function that reads a body, by the body's first octet. All other bodies are JSON."""
