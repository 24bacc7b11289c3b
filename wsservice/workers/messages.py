"""What parent and worker say to each other. PURE.

A frame is its length and a body. A body is a publication, in octets, or anything
else, as an object of JSON whose member `say` tells what it is.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import attrs

FIRST = 3
"""The descriptors of a worker from here on: the bus, its log, messages, then one for each port."""

LONGEST = 64 * 1024 * 1024
"""Octets of the longest body."""

_LENGTH = struct.Struct("!I")
LENGTH = _LENGTH.size
"""Octets that tell the length of a body, the highest first."""

_PUBLICATION = struct.Struct("!cBQI")
_MARK = b"p"
_BINARY = 1


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
class Publication:
    """A message for all on a channel. `request` is 0 where nobody waits for the counts."""

    channel: str
    payload: bytes
    binary: bool = False
    request: int = 0

    def body(self) -> bytes:
        """As it goes over the bus."""
        channel = self.channel.encode(errors="surrogatepass")
        head = _PUBLICATION.pack(_MARK, _BINARY * self.binary, self.request, len(channel))
        return head + channel + self.payload


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
    except (struct.error, UnicodeDecodeError):
        raise MessageError("a publication that is none") from None
    return Publication(channel, body[start:], bool(flags & _BINARY), request)
