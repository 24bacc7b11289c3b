"""Keep a bounded number of token buckets, by address or by user. PURE."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MOST_KEPT = 32_768
"""The most buckets that no connection uses: some 10 MB."""

_STEPS = 8
"""Entries that are looked at for each new bucket. Two would keep up with those that fill."""

_STEPS_WHEN_FULL = 1024
"""The same while there is no room: about a millisecond at most."""


class KeptBucket(Protocol):
    """A bucket, or several of one party."""

    @property
    def full_at(self) -> float:
        """The time at which it is full, if nothing is taken until then.

        It goes back only within `Buckets.change`.
        """

    @property
    def in_use(self) -> bool:
        """True if it must be kept, since connections share it."""

    @property
    def refill_seconds(self) -> float:
        """The seconds in which it fills from empty."""


_K = TypeVar("_K", bound=KeptBucket)


class Buckets(Generic[_K]):
    """The buckets of a limit. `make` makes one for a key.

    A full bucket says no more than a new one, so it is forgotten. When `most` are not full, the
    fullest one goes. A client with very many addresses gains nothing by that: to have the bucket go
    that holds one of them back, it must have taken as much out of each of the others, and most of
    it again for each new address. Finding the fullest takes a step for each bucket that was used
    since the last look at it. After 1024 steps the first one found goes, so at best a client gets
    one burst more for 1024 connections.

    A bucket that connections use stays, whatever the number.
    """

    def __init__(self, make: Callable[[str], _K], most: int = MOST_KEPT) -> None:
        self._make = make
        self._most = most
        self._buckets: dict[str, _K] = {}
        # Each bucket once, with the time at which it was full when it was last looked at. Buckets
        # only become full later, so the first entry is a lower bound.
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._buckets)

    def change(self, change: Callable[[_K], object]) -> None:
        """Change each bucket. It may be full earlier then."""
        for bucket in self._buckets.values():
            change(bucket)
        self._order = [(bucket.full_at, key) for key, bucket in self._buckets.items()]
        heapq.heapify(self._order)

    def of(self, key: str, now: float) -> _K:
        """Return the bucket of an address or a user, a full one unless it is known."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[key] = self._make(key)
            heapq.heappush(self._order, (now, key))
        return bucket

    def _make_room(self, now: float) -> None:
        order, buckets = self._order, self._buckets
        is_full = len(buckets) >= self._most
        for _ in range(_STEPS_WHEN_FULL if is_full else _STEPS):
            if not order:
                return
            due, key = order[0]
            bucket = buckets[key]
            if bucket.in_use:
                # Looked at again when it could be full.
                later = max(bucket.full_at, now) + bucket.refill_seconds
                heapq.heapreplace(order, (later, key))
            elif bucket.full_at > due:
                heapq.heapreplace(order, (bucket.full_at, key))
            elif is_full or bucket.full_at <= now:
                self._forget_first()
                is_full = False
            else:
                return
        if is_full and not buckets[order[0][1]].in_use:
            self._forget_first()

    def _forget_first(self) -> None:
        _, key = heapq.heappop(self._order)
        del self._buckets[key]
