"""When to try again: later each time, never all at once. PURE."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime

FIRST = 1.0
LONGEST = 60.0
"""Seconds: the first delay is at most this, and so is each of the later ones."""

LONGEST_ASKED = 300.0
"""Seconds that a server may ask to be left alone for."""


class Backoff:
    """Exponential backoff with full jitter: each delay is any up to a bound that doubles.

    Without jitter, all clients of a server that was restarted would come back
    in the same moments.
    """

    def __init__(
        self, random: Callable[[], float] = random.random, longest: float = LONGEST
    ) -> None:
        self._random = random
        self._longest = longest
        self._failures = 0

    def delay(self, asked: float | None = None) -> float:
        """Seconds to wait after one more failure, and those the server asked for before them."""
        bound = min(self._longest, FIRST * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return min(asked or 0.0, LONGEST_ASKED) + self._random() * bound

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0


def retry_after(value: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None for nonsense.

    `now` is the time in seconds since 1970.
    """
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
