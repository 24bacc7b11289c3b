"""The subprotocol `wsservice.v1`: each message of a server in an object of JSON. PURE.

What a message has besides its payload: its channel, the time, and where the
channel has a history, its place in there. Clients send plain messages.
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import cached_property
from json.encoder import encode_basestring as quoted
from typing import Any

import attrs

from .channels import Position
from .history import Entry
from .sending import PreparedMessage

SUBPROTOCOL = "wsservice.v1"

_LARGEST = 2**53
"""Beyond this a number of JSON means different ones to different readers."""


def of_message(
    channel: str, payload: bytes, isBinary: bool, time: float, position: Position | None = None
) -> bytes:
    """The envelope of a message. `time` is in seconds since 1970.

    What is not UTF-8 in a text has U+FFFD in its place.
    """
    if isBinary:
        data = f'"data64":"{base64.b64encode(payload).decode()}"'
    else:
        data = f'"data":{quoted(payload.decode(errors="replace"))}'
    return _object(channel, f'{_place(position)},{data},"time":{time:.3f}')


def of_joining(channel: str, position: Position) -> bytes:
    """What is said first on a channel: where it is now."""
    return _object(channel, f'{_place(position)},"joined":true')


def of_gap(channel: str, position: Position | None) -> bytes:
    """What is said where some messages are gone; `position` is where it goes on, if known."""
    return _object(channel, f'{_place(position)},"gap":true')


def _object(channel: str, members: str) -> bytes:
    # A channel is a part of a request's target, which may be anything.
    return f'{{"channel":{quoted(channel)}{members}}}'.encode(errors="replace")


def _place(position: Position | None) -> str:
    if position is None:
        return ""
    return f',"offset":{position.offset},"epoch":{quoted(position.epoch)}'


class Envelope(PreparedMessage):
    """A message that is an envelope already."""

    def __init__(self, text: bytes, doNotCompress: bool = False) -> None:
        super().__init__(text, False, doNotCompress)


class Published(PreparedMessage):
    """A message on a channel, `time` in seconds since 1970. `position` is its own, if it has one.

    Raises `TypeError` for a payload that is not bytes.
    """

    def __init__(self, channel: str, payload: bytes, isBinary: bool, time: float) -> None:
        super().__init__(payload, isBinary)
        self.channel = channel
        self.time = time
        self.position: Position | None = None

    @cached_property
    def envelope(self) -> Envelope:
        """The same for those who speak the subprotocol, made once for all of them."""
        text = of_message(self.channel, self.payload, self.isBinary, self.time, self.position)
        return Envelope(text)


@attrs.define(eq=False)
class Fetched(Entry):
    """A kept message that was fetched for several: they share what is made of it."""

    message: Published | None = None


def message_of(entry: Entry) -> Published:
    """A message that was kept, for those who missed it."""
    if isinstance(entry, Fetched) and entry.message is not None:
        return entry.message
    message = Published(entry.channel, entry.payload, entry.isBinary, entry.time)
    message.position = Position(entry.offset, entry.epoch)
    if isinstance(entry, Fetched):
        entry.message = message
    return message


def enveloped(message: PreparedMessage, channel: str, time: float) -> PreparedMessage:
    """A prepared message as an envelope, of `channel` where it has none of its own."""
    if isinstance(message, Envelope):
        return message
    if isinstance(message, Published):
        return message.envelope
    text = of_message(channel, message.payload, message.isBinary, time)
    return Envelope(text, message.doNotCompress)


@attrs.frozen
class Opened:
    """What an envelope has. `payload` is None where it only tells of a position, or a gap."""

    channel: str
    payload: bytes | None = None
    isBinary: bool = False
    position: Position | None = None
    time: float | None = None
    gap: bool = False


class EnvelopeError(ValueError):
    """What came is no envelope."""


def opened(text: bytes) -> Opened:
    """What is in an envelope. Members that are not known are passed over.

    Raises `EnvelopeError`.
    """
    try:
        members = json.loads(text)
        return _opened(members)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvelopeError("no envelope of wsservice.v1") from error


def _opened(members: dict[str, Any]) -> Opened:
    channel = _text(members["channel"])
    position = None
    if "offset" in members:
        offset = members["offset"]
        if type(offset) is not int or not 0 <= offset < _LARGEST:
            raise ValueError(offset)
        position = Position(offset, _text(members["epoch"]))
    time = members.get("time")
    if time is not None and (isinstance(time, bool) or not isinstance(time, int | float)):
        raise TypeError(time)
    if "data" in members:
        return Opened(channel, _text(members["data"]).encode(), False, position, time)
    if "data64" in members:
        payload = _from_base64(_text(members["data64"]))
        return Opened(channel, payload, True, position, time)
    return Opened(channel, position=position, time=time, gap=members.get("gap") is True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
