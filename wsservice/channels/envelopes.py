"""Make and read envelopes of the subprotocol `wsservice.v1`: a JSON object for each message. PURE.

An envelope has the payload, the channel and the time, and the position in the channel's history if
there is one. Only servers send envelopes; clients send plain messages.
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import cached_property
from json.encoder import encode_basestring as quoted
from typing import Any

import attrs

from ..protocol.frames import encode
from ..protocol.sending import PreparedMessage
from .message import ChannelMessage
from .query import Position

SUBPROTOCOL = "wsservice.v1"

_LARGEST = 2**53
"""Numbers from this on are not exact for readers of JSON that have floating point only."""


def of_message(
    channel: str, payload: bytes, is_binary: bool, time: float, position: Position | None = None
) -> bytes:
    """Return the envelope of a message. `time` is in seconds since 1970.

    Invalid UTF-8 in a text is replaced by U+FFFD, since JSON cannot hold it.
    """
    if is_binary:
        data = f'"data64":"{base64.b64encode(payload).decode()}"'
    else:
        data = f'"data":{quoted(payload.decode(errors="replace"))}'
    return _object(channel, f'{_place(position)},{data},"time":{time:.3f}')


def of_joining(channel: str, position: Position) -> bytes:
    """Return the first envelope on a channel, which has its current position."""
    return _object(channel, f'{_place(position)},"joined":true')


def of_gap(channel: str, position: Position | None) -> bytes:
    """Return the envelope for missing messages; the channel goes on at `position`, if known."""
    return _object(channel, f'{_place(position)},"gap":true')


def _object(channel: str, members: str) -> bytes:
    # A channel's name is a part of a request's target, and may have halves of surrogate pairs.
    return f'{{"channel":{quoted(channel)}{members}}}'.encode(errors="replace")


def _place(position: Position | None) -> str:
    if position is None:
        return ""
    return f',"offset":{position.offset},"epoch":{quoted(position.epoch)}'


class Envelope(PreparedMessage):
    """A prepared message that is an envelope already."""

    def __init__(self, text: bytes, doNotCompress: bool = False) -> None:
        super().__init__(text, False, doNotCompress)


class SharedFrames(PreparedMessage):
    """The frames of a message on a channel, made once for all connections that get it.

    They are not the message: they are its octets for sockets, without time and position, plain,
    compressed or in an envelope. They live while it is sent, and a history keeps none.
    """

    doNotCompress = False

    def __init__(self, message: ChannelMessage) -> None:
        # As `PreparedMessage` does, but the payload was checked: to call it would make each publish
        # to few connections a tenth slower.
        self.message = message
        self.payload = payload = message.payload
        self.isBinary = is_binary = message.is_binary
        self.plain = encode(0x82 if is_binary else 0x81, payload)

    @cached_property
    def envelope(self) -> Envelope:
        """The message's envelope, made once for all connections that use the subprotocol."""
        channel, payload, is_binary, time, *_ = self.message
        return Envelope(of_message(channel, payload, is_binary, time, self.message.position))


def enveloped(message: PreparedMessage, channel: str, time: float) -> PreparedMessage:
    """Return a prepared message as an envelope, with `channel` if it has none of its own.

    `time` is in seconds since 1970.
    """
    if isinstance(message, Envelope):
        return message
    if isinstance(message, SharedFrames):
        return message.envelope
    text = of_message(channel, message.payload, message.isBinary, time)
    return Envelope(text, message.doNotCompress)


@attrs.frozen
class Opened:
    """The content of an envelope. `payload` is None if it only has a position or a gap."""

    channel: str
    payload: bytes | None = None
    is_binary: bool = False
    position: Position | None = None
    time: float | None = None
    gap: bool = False


class EnvelopeError(ValueError):
    """A text that is not an envelope."""


def opened(text: bytes) -> Opened:
    """Return the content of an envelope. Unknown members are ignored.

    Raises `EnvelopeError` for any other text.
    """
    try:
        members = json.loads(text)
        return _opened(members)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # RecursionError: a peer may nest lists as deep as it likes.
        raise EnvelopeError("no envelope of wsservice.v1") from error


def _opened(members: dict[str, Any]) -> Opened:
    channel = _text(members["channel"])
    position = None
    if "offset" in members:
        offset = members["offset"]
        if type(offset) is not int or not 0 <= offset < _LARGEST:
            raise ValueError(offset)
        position = Position(offset, _epoch(members["epoch"]))
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


def _epoch(value: Any) -> str:
    text = _text(value)
    text.encode()  # a client sends it back in a URL, which cannot have half a surrogate pair
    return text


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
