"""Count what may come now: a token bucket, on a time that is passed in. PURE."""

from __future__ import annotations

from ...config.rates import Rate

_ROUNDING = 1e-6
"""Tokens that sums of floating-point numbers may lose.

Without it, a bucket that was waited for would lack a millionth of its token, and be waited for
again.
"""


class TokenBucket:
    """Holds up to `rate.burst` tokens, and gets `rate.per_second` of them each second.

    A new one is full. In any length of time at most the burst and what came in that time can be
    taken. The exception is a single amount beyond the burst: it waits for a full bucket, and leaves
    a debt, so that it is slowed down and not stopped for ever. Times are in seconds, on any clock
    that does not go back.
    """

    __slots__ = ("full_at", "logged_at", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        #: The time at which it is full, if nothing is taken until then. It is all of its state.
        self.full_at = float("-inf")
        #: The time at which its party was logged as limited.
        self.logged_at = float("-inf")

    @property
    def in_use(self) -> bool:
        """True if a table must keep it, since connections share it."""
        return False

    @property
    def refill_seconds(self) -> float:
        """The seconds in which it fills from empty."""
        return self.rate.burst * self.rate.seconds_for_one

    def level(self, now: float) -> float:
        """Return the tokens in it; negative if it is in debt."""
        ahead = self.full_at - now
        if ahead <= 0:
            return float(self.rate.burst)
        return self.rate.burst - ahead * self.rate.per_second + _ROUNDING

    def has(self, count: float, now: float) -> bool:
        """Return True if a number of tokens can be taken. More than the burst need a full bucket.

        `count` is positive.
        """
        return self.level(now) >= min(count, self.rate.burst)

    def take(self, count: float, now: float) -> None:
        """Take tokens, also those that it does not have."""
        self.full_at = max(self.full_at, now) + count * self.rate.seconds_for_one

    def wait(self, count: float, now: float) -> float:
        """Return the seconds until `has` is true, if nothing is taken until then."""
        missing = min(count, self.rate.burst) - self.level(now)
        return max(0.0, missing * self.rate.seconds_for_one)

    def change(self, rate: Rate, now: float) -> None:
        """Set the rate. The tokens that are missing stay missing, up to the new burst."""
        if rate == self.rate:
            return
        missing = max(0.0, self.full_at - now) * self.rate.per_second
        self.rate = rate
        self.full_at = now + min(missing, rate.burst) * rate.seconds_for_one

    def forgive(self, now: float) -> None:
        """End a debt: the bucket is empty at worst."""
        self.full_at = min(self.full_at, now + self.refill_seconds)
