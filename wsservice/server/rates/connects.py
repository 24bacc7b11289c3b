"""Limit how fast each address, or each user, connects. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from ...config.rates import Rate
from ...http.refusal import Refusal
from .bucket import TokenBucket
from .table import Buckets


class Notes(Protocol):
    """Counts and logs what a limit did: a `limited.Limited`."""

    def note(self, limit: str, who: str, bucket: TokenBucket, becomes: str) -> None:
        """Count that a limit took effect; log it unless it was logged for the party lately."""


class ConnectRate:
    """How fast each of the parties of a kind may connect. Without a rate all may.

    `party` is the kind, `seconds` a monotonic clock.
    """

    def __init__(self, party: str, seconds: Callable[[], float], notes: Notes) -> None:
        self._party = party
        self._seconds = seconds
        self._notes = notes
        self._dry_run = False
        self._rate: Rate | None = None
        self._buckets: Buckets[TokenBucket] | None = None

    def __len__(self) -> int:
        """Return the number of parties that are remembered."""
        return 0 if self._buckets is None else len(self._buckets)

    def change(self, rate: Rate | None, dry_run: bool) -> None:
        """Set the rate for new connections, None for no limit. `dry_run` only counts and logs."""
        self._dry_run = dry_run
        self._rate = rate
        if rate is None:
            self._buckets = None
            return
        if self._buckets is None:
            self._buckets = Buckets(self._new)
        now = self._seconds()
        self._buckets.change(lambda bucket: bucket.change(rate, now))

    def _new(self, _key: str) -> TokenBucket:
        if self._rate is None:
            raise AssertionError("there are buckets without a rate")
        return TokenBucket(self._rate)

    def admits(self, key: str) -> bool:
        """Count a new connection of a party, and return False if it comes too soon.

        Refused connections do not count, so a client that tries again and again is admitted at the
        rate.
        """
        buckets = self._buckets
        if buckets is None:
            return True
        now = self._seconds()
        bucket = buckets.of(key, now)
        if bucket.has(1, now):
            bucket.take(1, now)
            return True
        becomes = "nothing, in a dry run" if self._dry_run else "429"
        self._notes.note(f"connects by {self._party}", key, bucket, becomes)
        return self._dry_run

    @property
    def refusal(self) -> Refusal:
        """The answer to a client that connects too soon."""
        return too_soon(self._party, self._rate)


def too_soon(party: str, rate: Rate | None) -> Refusal:
    """Return the answer to a client that connects faster than a rate for its party allows."""
    # A bucket that is not in debt has a token within this time.
    seconds = 1 if rate is None else max(1, math.ceil(rate.seconds_for_one))
    return Refusal(
        429,
        f"there are too many new connections of this {party}",
        f"try again in {seconds} s",
        headers=(("Retry-After", str(seconds)),),
        kind="too many connects",
        for_operator="--limit-connects says how many there may be",
    )
