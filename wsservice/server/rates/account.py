"""Hold the tokens of a party: a connection, an address or a user. Connections share the latter two.

A party has one bucket for messages and one for octets. A connection waits for both at once, since
two queues could keep each other's connections waiting for ever.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Protocol

from ...config.rates import Rate
from ...net.timers import Timer, Timers
from .bucket import TokenBucket

_WAKE_SECONDS = 0.02
"""Seconds of tokens to gather before a wait ends, so that it does not end for each token."""

_MOST_TURNS = 32
"""Connections that get their turn at one go. The others get theirs after what else is due."""


def _worth_waiting(bucket: TokenBucket, count: float) -> float:
    """Return the tokens to wait for if a number of them is needed: more, where they come fast."""
    return max(count, min(bucket.rate.burst, bucket.rate.per_second * _WAKE_SECONDS))


class Account:
    """The tokens of one party. `None` is no limit."""

    __slots__ = ("messages", "octets")

    #: The connections that wait for their turn.
    waiting: Collection[InQueue] = ()

    def __init__(self, messages: Rate | None, octets: Rate | None) -> None:
        self.messages = None if messages is None else TokenBucket(messages)
        self.octets = None if octets is None else TokenBucket(octets)

    def change(self, messages: Rate | None, octets: Rate | None, now: float) -> None:
        """Set the rates."""
        self.messages = _changed(self.messages, messages, now)
        self.octets = _changed(self.octets, octets, now)

    @property
    def full_at(self) -> float:
        """The time at which both are full, if nothing is taken until then."""
        return max(-math.inf, *(each.full_at for each in self._both()))

    @property
    def refill_seconds(self) -> float:
        """The seconds in which both fill from empty."""
        return max(0.0, *(each.refill_seconds for each in self._both()))

    def _both(self) -> list[TokenBucket]:
        return [each for each in (self.messages, self.octets) if each is not None]

    def levels(self, now: float) -> tuple[float, float]:
        """Return the messages and the octets that may be taken."""
        messages, octets = self.messages, self.octets
        return (
            math.inf if messages is None else messages.level(now),
            math.inf if octets is None else octets.level(now),
        )

    def lacking(self, messages: float, octets: float, now: float) -> str | None:
        """Return what it has too little of, `messages` or `octets`; None if it has enough."""
        bucket = self.messages
        if messages and bucket is not None and not bucket.has(messages, now):
            return "messages"
        bucket = self.octets
        if octets and bucket is not None and not bucket.has(octets, now):
            return "octets"
        return None

    def exceeded(self, messages: int, octets: int, now: float) -> str | None:
        """Return what was read beyond the limit, `messages` or `octets`; None if all was within.

        One message beyond the burst is within, if it waited for a full bucket.
        """
        some, size = self.levels(now)
        if messages > some:
            return "messages"
        bucket = self.octets
        if bucket is not None and octets > size and (messages > 1 or not bucket.has(octets, now)):
            return "octets"
        return None

    def take(self, messages: int, octets: int, now: float) -> None:
        """Take tokens."""
        if messages and self.messages is not None:
            self.messages.take(messages, now)
        if self.octets is not None:
            self.octets.take(octets, now)

    def forgive(self, now: float) -> None:
        """End debts."""
        for bucket in self._both():
            bucket.forgive(now)

    def wait(self, messages: float, octets: float, now: float) -> float:
        """Return the seconds to wait for some messages and octets."""
        seconds = 0.0
        if messages and self.messages is not None:
            seconds = self.messages.wait(_worth_waiting(self.messages, messages), now)
        if octets and self.octets is not None:
            wait = self.octets.wait(_worth_waiting(self.octets, octets), now)
            seconds = max(seconds, wait)
        return seconds


def _changed(bucket: TokenBucket | None, rate: Rate | None, now: float) -> TokenBucket | None:
    if bucket is None or rate is None:
        return None if rate is None else TokenBucket(rate)
    bucket.change(rate, now)
    return bucket


class InQueue(Protocol):
    """A connection that waits for tokens."""

    def take_turn_at(self, account: SharedAccount, part: tuple[float, float]) -> None:
        """Read on, and take at most `part` meanwhile, messages and octets."""


class SharedAccount(Account):
    """The tokens that the connections of an address or a user share.

    While some wait, each has its turn in the order in which they came, and takes its part of the
    tokens; then it waits behind the others if it has more to do. A connection that did not wait
    gets none meanwhile. One timer runs for all of them.
    """

    __slots__ = ("_seconds", "_timer", "_timers", "_turns", "key", "users", "waiting")

    def __init__(
        self,
        key: str,
        messages: Rate | None,
        octets: Rate | None,
        seconds: Callable[[], float],
        timers: Timers,
    ) -> None:
        super().__init__(messages, octets)
        #: The address or the user.
        self.key = key
        #: The number of open connections that use it.
        self.users = 0
        # In order, with the messages and octets that each needs.
        self.waiting: OrderedDict[InQueue, tuple[float, float]] = OrderedDict()
        self._turns = False
        self._seconds = seconds
        self._timers = timers
        self._timer: Timer | None = None

    @property
    def in_use(self) -> bool:
        """True while connections use it."""
        return self.users > 0

    def join(self, connection: InQueue, messages: float, octets: float) -> None:
        """Have a connection wait for some messages and octets, behind the others."""
        self.waiting[connection] = messages, octets
        self._wake_later()

    def leave(self, connection: InQueue) -> None:
        """Stop waiting. Idempotent."""
        self.waiting.pop(connection, None)
        if not self.waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_later(self, at_once: bool = False) -> None:
        if self._timer is None and self.waiting and not self._turns:
            first = next(iter(self.waiting.values()))
            delay = 0.0 if at_once else self.wait(*first, self._seconds())
            self._timer = self._timers.call_later(delay, self)

    def __call__(self) -> None:
        """Give turns to those that wait longest, as far as the tokens go."""
        self._timer = None
        self._turns = True
        count = 0
        try:
            count = self._give_turns(self._seconds())
        finally:
            self._turns = False
        self._wake_later(at_once=count == _MOST_TURNS)

    def _give_turns(self, now: float) -> int:
        queue = self.waiting
        messages, octets = (level / (len(queue) or 1) for level in self.levels(now))
        count = 0
        # Those that come back to the end of the queue meanwhile wait for the next time.
        for count in range(1, min(len(queue), _MOST_TURNS) + 1):  # noqa: B007
            if not queue:
                break
            connection, (some, size) = next(iter(queue.items()))
            if self.lacking(some, size, now):
                break
            del queue[connection]
            connection.take_turn_at(self, (max(messages, some), max(octets, size)))
        return count
