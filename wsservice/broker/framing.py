"""Encode and decode messages between nodes: on a channel of Redis, and in a stream. PURE.

    1 OFFSET EPOCH MILLISECONDS KIND NODE SEQUENCE
    PAYLOAD

The head is one line; the payload is any octets. OFFSET and EPOCH are the message's position in the
history, 0 and - without a history. MILLISECONDS is the time since 1970. KIND is t for text or b for
binary. NODE and SEQUENCE identify the message, so that a repeated one is recognised. A stream's
entry has the name OFFSET-MILLISECONDS, and the rest from KIND on in a field called 1.

Other programs may publish on the same Redis, and so may nodes of an older or newer version.
Anything but such a message is ignored.
"""

from __future__ import annotations

import re

import attrs

from ..channels.message import ChannelMessage

LARGEST = 2**53
"""Numbers from this on are not exact in Lua and in JSON, which have floating point only."""

LONGEST_HEAD = 256
"""Octets of the longest head."""

EPOCH = re.compile(r"[0-9A-Za-z._-]{1,64}")

# Each field has a bound, so that a hostile message cannot make an int of a million digits.
_HEAD = re.compile(
    rb"1 ([0-9]{1,16}) ([0-9A-Za-z._-]{1,64}) ([0-9]{1,15}) ([tb]) ([0-9A-Za-z_-]{1,40})"
    rb" ([0-9]{1,16})\n"
)
_REST = re.compile(rb"([tb]) ([0-9A-Za-z_-]{1,40}) ([0-9]{1,16})\n")
_NAME = re.compile(rb"([0-9]{1,16})-([0-9]{1,15})")


class FramingError(ValueError):
    """Octets that are not a message between nodes. The text says why, and quotes none of them."""


@attrs.define(eq=False)  # frozen it would take twice as long to make
class Heard:
    """A message with the node that published it, which may be this one, and its number there.

    It is more than the message: the rest tells a repeated one, and ends at the hub.
    """

    message: ChannelMessage
    node: bytes
    sequence: int


def check(payload: bytes, is_binary: bool, most: int) -> None:
    """Check that other nodes take a message. Raises `FramingError` if they do not.

    `most` is the most octets of a payload.
    """
    if len(payload) > most:
        raise FramingError(f"it is larger than {most} octets")
    if not is_binary and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            # A client that receives invalid UTF-8 must fail the connection (RFC 6455, 8.1).
            raise FramingError("its text is not UTF-8") from None


def body(node: bytes, sequence: int, payload: bytes, is_binary: bool) -> bytes:
    """Return a message as a script takes it. The script adds its position and the time."""
    return b"%c %s %d\n%s" % (b"b" if is_binary else b"t", node, sequence, payload)


def framed(body: bytes, time: float) -> bytes:
    """Return a message without a position, to publish. `time` is in seconds since 1970."""
    return b"1 0 - %d %s" % (time * 1000, body)


def heard(channel: str, octets: bytes, most: int) -> Heard:
    """Return a message published on a channel.

    Raises `FramingError`, also for more than `most` octets.
    """
    head = _HEAD.match(octets)
    if head is None:
        raise FramingError("it has no head of version 1")
    offset, epoch, milliseconds, kind, node, sequence = head.groups()
    place = (0, "")
    if epoch != b"-":
        place = (_number(offset), epoch.decode())
        # Offsets begin at 1. A message with 0 would make every connection fall behind.
        if not place[0]:
            raise FramingError("its offset is 0")
    payload = _payload(octets, head.end(), kind, most)
    message = ChannelMessage(channel, payload, kind == b"b", int(milliseconds) / 1000, *place)
    return Heard(message, node, _number(sequence))


def kept(channel: str, epoch: str, name: bytes, rest: bytes, most: int) -> ChannelMessage:
    """Return the message in an entry of a stream. Raises `FramingError`.

    `name` is the entry's name, `rest` the content of its field.
    """
    named, head = _NAME.fullmatch(name), _REST.match(rest)
    if named is None or head is None:
        raise FramingError("an entry of the history has no head of version 1")
    kind = head[1]
    payload = _payload(rest, head.end(), kind, most)
    offset, time = _number(named[1]), int(named[2]) / 1000
    return ChannelMessage(channel, payload, kind == b"b", time, offset, epoch)


def offset_of(name: bytes) -> int | None:
    """Return the offset in the name of a stream's entry, or None for another name."""
    named = _NAME.fullmatch(name)
    return None if named is None or int(named[1]) >= LARGEST else int(named[1])


def mark(heard: Heard) -> bytes:
    """Return the beginning of a message's entry, which differs from that of all others."""
    kind = b"b" if heard.message.is_binary else b"t"
    return b"%c %s %d\n" % (kind, heard.node, heard.sequence)


def _number(digits: bytes) -> int:
    number = int(digits)
    if number >= LARGEST:
        raise FramingError("it has a number that is too large")
    return number


def _payload(octets: bytes, start: int, kind: bytes, most: int) -> bytes:
    payload = octets[start:]
    check(payload, kind == b"b", most)
    return payload
