"""Compute when to try again after failures: later each time, at random. PURE."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
"""The longest first delay, and the longest delay of all."""

LONGEST_ASKED_SECONDS = 300.0
"""Seconds: the longest Retry-After of a server that is honoured."""


class Backoff:
    """Exponential backoff with full jitter: delays are random, up to a bound that doubles.

    Without jitter, all clients of a restarted server would come back at the same moments.

    `random` returns a number from 0 to 1. `longest` is the highest bound, in seconds.
    """

    def __init__(
        self, random: Callable[[], float] = random.random, longest: float = LONGEST_DELAY_SECONDS
    ) -> None:
        self._random = random
        self._longest = longest
        self._failures = 0

    def delay(self, asked: float | None = None) -> float:
        """Count one more failure, and return the seconds to wait before the next attempt.

        `asked` is the server's Retry-After in seconds, to which the random delay is added.
        """
        # The exponent is bounded, since 2.0 ** 1024 raises OverflowError.
        bound = min(self._longest, FIRST_DELAY_SECONDS * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return min(asked or 0.0, LONGEST_ASKED_SECONDS) + self._random() * bound

    def reset(self) -> None:
        """Forget the failures, after a success."""
        self._failures = 0


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3).

    `now` is the time in seconds since 1970. Returns None for a value that cannot be read.
    """
    if value.isascii() and value.isdigit():
        # Nine digits are 31 years. Python refuses to convert more than 4300.
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
