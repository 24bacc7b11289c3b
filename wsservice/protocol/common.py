"""Hold the limits and clocks that the connections of a factory share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..config.limits import Limits
from . import frames
from .sending import Bound

BATCH_MESSAGES = 32
"""Messages that are decoded before the clock is looked at."""

LOGGED_BATCH = 256
"""The same, if the behaviour only logs them."""


class Measured(Protocol):
    """Lets readers take only what some limits allow: a server's `Meter`."""

    def step(self, reader: Any, connection: Any, buffer: bytes, position: int) -> int:
        """Have a reader take what it may: where that ends, `position` if it takes nothing."""

    def forget(self, reader: Any) -> None:
        """Forget a connection that is over. Idempotent."""


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
        "_masked",
        "batch",
        "by_codec",
        "decoding",
        "limits",
        "meter",
        "seconds",
        "send_bound",
        "takes_all",
        "undecoded",
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
        self.batch = batch
        self.seconds = seconds
        self.wall = wall
        self.takes_all = takes_all
        self.by_codec = by_codec
        #: The bound of each send queue.
        self.send_bound = Bound(limits.send_buffer)
        #: Asked before anything is taken, None if no limit needs it.
        self.meter: Measured | None = None
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Set the limits."""
        self.limits = limits
        self.send_bound.change(limits.send_buffer)
        self.measure(self.meter)

    def measure(self, meter: Measured | None) -> None:
        """Have a meter asked before anything is taken, or none."""
        self.meter = meter
        # With one, the codec is told to decode nothing, and readers then ask the meter. Without
        # one, they need not look for it.
        nothing = frames.FOREIGN if meter is None else frames.STOPPED
        #: The outcome of the codec where it is not asked.
        self.undecoded: tuple[list[tuple[bytes, bool, int]], int] = ([], nothing)
        # One tuple, which the reader takes apart once for each read.
        #: Arguments of the codec: whether frames are masked, and octets and number of messages.
        self.decoding = (
            self._masked,
            self.limits.max_message_size,
            self.batch if meter is None else 0,
        )
