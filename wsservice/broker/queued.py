"""A message on its way to Redis: what is sent, and how far that is."""

from __future__ import annotations

import sys

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ..channels.message import ChannelMessage
from .standing import UNKNOWN, Standing

OVERHEAD = 500
"""Octets that a waiting message takes besides its payload and its channel's name."""


@attrs.define(eq=False)
class QueuedMessage:
    """A message on its way to Redis, and how far it is.

    It is not the message: it changes with each attempt, and ends with the answer of Redis.

    `done` fires with the number of nodes that heard it, -1 if unknown. It fails with
    `NotPublishedError` or `UncertainError`, and is None if nobody wants the outcome.
    """

    message: ChannelMessage
    done: Deferred[int] | None = None
    #: Its number, 0 before it was sent for the first time.
    sequence: int = 0
    #: True if it may have been published; `life` is the id that Redis had then.
    doubtful: bool = False
    life: bytes = b""
    #: True if it was sent and has no answer yet.
    under_way: bool = False
    #: The standing that it comes after. With `anew`, Redis begins anew there, and takes nothing.
    after: Standing = UNKNOWN
    anew: bool = False
    #: When it was sent first, or would have been, by the monotonic clock in seconds.
    sent: float | None = None
    over: bool = False
    #: Fires when it has come back to this node, with its outcome here and its number then.
    echo: Deferred[tuple[int, int]] | None = None
    number: int = 0
    deadline: IDelayedCall | None = None

    @property
    def octets(self) -> int:
        """The octets that it takes to keep it."""
        return len(self.message.payload) + sys.getsizeof(self.message.channel) + OVERHEAD
