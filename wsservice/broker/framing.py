"""What a message is between nodes: on a channel of Redis, and in a channel's stream. PURE.

    1 OFFSET EPOCH MILLISECONDS KIND NODE SEQUENCE
    PAYLOAD

in one line, and then, whatever it is, the payload. OFFSET and EPOCH are its place in the
history, 0 and - where there is none; MILLISECONDS is the time since 1970 and KIND t or b, for
text or binary. NODE and SEQUENCE tell one message from all others: what comes twice is known
by them. A stream's entry is called OFFSET-MILLISECONDS and has, in a field called 1, the
rest from KIND on.

Who else may write to that Redis may publish, and so may the version before or after this one:
what is no such message is passed over.
"""

from __future__ import annotations

import re

import attrs

from ..channels import Position
from ..envelopes import Fetched

LARGEST = 2**53
"""Beyond this a number of Lua, or of JSON, means different ones to different readers."""

LONGEST_HEAD = 256
"""Octets of the line before a payload."""

EPOCH = re.compile(r"[0-9A-Za-z._-]{1,64}")

_HEAD = re.compile(
    rb"1 ([0-9]{1,16}) ([0-9A-Za-z._-]{1,64}) ([0-9]{1,15}) ([tb]) ([0-9A-Za-z_-]{1,40})"
    rb" ([0-9]{1,16})\n"
)
_REST = re.compile(rb"([tb]) ([0-9A-Za-z_-]{1,40}) ([0-9]{1,16})\n")
_NAME = re.compile(rb"([0-9]{1,16})-([0-9]{1,15})")


class FramingError(ValueError):
    """That is no message between nodes. The text says why, and has nothing of it."""


@attrs.define(eq=False)  # frozen it would take twice as long to make
class Heard:
    """A message that came from a node, be it this one. `position` is its own, if it has one."""

    payload: bytes
    isBinary: bool
    #: Seconds since 1970.
    time: float
    position: Position | None
    node: bytes
    sequence: int


def check(payload: bytes, isBinary: bool, most: int) -> None:
    """Look whether nodes take a message from each other. Raises `FramingError` if not."""
    if len(payload) > most:
        raise FramingError(f"it is larger than {most} octets")
    if not isBinary and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            # A client that is sent this would have to close.
            raise FramingError("its text is not UTF-8") from None


def body(node: bytes, sequence: int, payload: bytes, isBinary: bool) -> bytes:
    """A message as a script takes it, which knows its place and the time."""
    return b"%c %s %d\n%s" % (b"b" if isBinary else b"t", node, sequence, payload)


def framed(body: bytes, time: float) -> bytes:
    """A message without a place, to be published. `time` is in seconds since 1970."""
    return b"1 0 - %d %s" % (time * 1000, body)


def heard(octets: bytes, most: int) -> Heard:
    """The message that was published. Raises `FramingError`; also for one of more than `most`."""
    head = _HEAD.match(octets)
    if head is None:
        raise FramingError("it has no head of version 1")
    offset, epoch, milliseconds, kind, node, sequence = head.groups()
    position = None
    if epoch != b"-":
        position = Position(_number(offset), epoch.decode())
        if not position.offset:
            raise FramingError("its offset is 0")
    payload = _payload(octets, head.end(), kind, most)
    return Heard(payload, kind == b"b", int(milliseconds) / 1000, position, node, _number(sequence))


def kept(channel: str, epoch: str, name: bytes, rest: bytes, most: int) -> Fetched:
    """The message that an entry of a stream is. Raises `FramingError`."""
    named, head = _NAME.fullmatch(name), _REST.match(rest)
    if named is None or head is None:
        raise FramingError("an entry of the history has no head of version 1")
    kind = head[1]
    payload = _payload(rest, head.end(), kind, most)
    return Fetched(channel, _number(named[1]), epoch, int(named[2]) / 1000, payload, kind == b"b")


def mark(message: Heard) -> bytes:
    """What the entry of a message begins with, and that of no other."""
    return b"%c %s %d\n" % (b"b" if message.isBinary else b"t", message.node, message.sequence)


def _number(digits: bytes) -> int:
    number = int(digits)
    if number >= LARGEST:
        raise FramingError("it has a number that is too large")
    return number


def _payload(octets: bytes, start: int, kind: bytes, most: int) -> bytes:
    payload = octets[start:]
    check(payload, kind == b"b", most)
    return payload
