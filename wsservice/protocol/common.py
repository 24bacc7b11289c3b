"""Hold the limits and clocks that the connections of a factory share."""

from __future__ import annotations

from collections.abc import Callable

from ..config.limits import Limits
from .sending import Bound

BATCH_MESSAGES = 32
"""Messages that are decoded before the clock is looked at."""

LOGGED_BATCH = 256
"""The same, if the behaviour only logs them."""


class Common:
    """The limits and clocks of the connections of a factory.

    One object for all connections: a reload changes it, and so the limits of open connections too.

    - `masked`: True if received frames are masked, as those of clients are (RFC 6455, 5.3).
    - `batch`: the messages that are decoded before the clock is looked at.
    - `takes_all`: True if `Owner.take_all` may take the messages of a read.
    - `by_codec`: False if the behaviour wants parts of messages, which only Autobahn reads.
    - `seconds`: the clock that measures lengths of time; `wall`: the time of day.
    """

    __slots__ = (
        "_batch",
        "_masked",
        "by_codec",
        "decoding",
        "limits",
        "seconds",
        "send_bound",
        "takes_all",
        "wall",
    )

    def __init__(
        self,
        limits: Limits,
        seconds: Callable[[], float],
        wall: Callable[[], float],
        masked: bool,
        batch: int,
        takes_all: bool,
        by_codec: bool,
    ) -> None:
        self._masked = masked
        self._batch = batch
        self.seconds = seconds
        self.wall = wall
        self.takes_all = takes_all
        self.by_codec = by_codec
        #: The bound of each send queue.
        self.send_bound = Bound(limits.send_buffer)
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Set the limits."""
        self.limits = limits
        # One tuple, which the reader takes apart once for each read.
        #: Arguments of the codec: whether frames are masked, and octets and number of messages.
        self.decoding = self._masked, limits.max_message_size, self._batch
        self.send_bound.change(limits.send_buffer)
