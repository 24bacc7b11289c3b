"""A message on a channel, the same one from the door to the socket. PURE.

A door makes it: a hub's `publish` for behaviours, `POST /publish` for others. The hub, or Redis,
gives it a time, and with a history an offset and an epoch. A message that came over Redis or the
bus of workers has this type again, and so has one that a history keeps. At the end
`envelopes.SharedFrames` are made of it, the octets for sockets.

See docs/decisions/one-message.md.
"""

from __future__ import annotations

from typing import NamedTuple

from ..protocol.sending import no_payload
from .query import LONGEST, Position, check_name

_new = tuple.__new__

_SHORT = LONGEST // 4
"""Characters of a name that is surely not too long: none has more than four octets."""


class ChannelMessage(NamedTuple):  # a frozen class of attrs takes thrice as long to make
    """A message on a channel. It never changes: a hub that stamps it makes another."""

    channel: str
    payload: bytes
    is_binary: bool = False
    time: float = 0.0
    """Seconds since 1970; 0 before a hub has taken it."""
    offset: int = 0
    epoch: str = ""
    """Its place in the channel's history; 0 and "" without one."""

    @property
    def position(self) -> Position | None:
        """The position in the channel's history, or None without one."""
        return Position(self.offset, self.epoch) if self.offset else None


def new_message(
    channel: str, payload: bytes, is_binary: bool = False, time: float = 0.0
) -> ChannelMessage:
    """Return a new message of this process.

    Raises `TypeError` for a payload that is not bytes, `ChannelNameError` for a channel's name of
    more than 255 octets, or one that begins with NUL.
    """
    # Less than U+0001 are the empty name, and names that begin with NUL.
    if channel < "\1" or len(channel) > _SHORT:
        check_name(channel)
    if not isinstance(payload, bytes):
        raise no_payload(payload)
    # Each message published here takes this way. The class's own constructor takes twice as long.
    return _new(ChannelMessage, (channel, payload, is_binary, time, 0, ""))
