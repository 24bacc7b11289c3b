"""Let connections fetch past messages only while there is memory and time for them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from ..clock import monotonic_of
from ..protocol.budget import Budget

_TICK_SECONDS = 0.05
_A_TICK = 8
"""The most connections that go on in one tick. Their messages are counted a moment later."""

_TURN_SECONDS = 0.002
"""Seconds after which a turn of the reactor begins no more pages. Reading may take 4 ms of it."""


class MemoryGate:
    """Makes connections wait for past messages while all connections hold too much memory.

    Messages that are published come anyway. But any client can ask for past ones, and a thousand
    that never read would each take a full buffer. One that waits has a position only. If no memory
    becomes free, some go on in each tick all the same until the budget is exceeded, and the budget
    has others give up what they hold. So clients that do not read keep no other from its messages.

    It also shares the time of a turn between connections that get many past messages.
    """

    def __init__(self, budget: Budget, reactor: Any) -> None:
        self._budget = budget
        self._reactor = reactor
        self._seconds = monotonic_of(reactor)
        # By the order in which they came. Thousands may leave at once, so each is found by itself.
        self._waiting: dict[Deferred[bool], None] = {}
        self._resting: dict[Deferred[None], None] = {}
        self._tick_call: Any = None
        self._turn_call: Any = None

    @property
    def is_open(self) -> bool:
        """True if there is memory for more past messages."""
        limit = self._budget.limit
        return not limit or self._budget.octets < limit - limit // 8

    def wait(self) -> Deferred[bool]:
        """Return a Deferred that fires when a connection may go on.

        It fires with True if that is although there is no memory.
        """
        waiting: Deferred[bool] = Deferred(lambda waiting: self._waiting.pop(waiting, None))
        self._waiting[waiting] = None
        self._tick_later()
        return waiting

    def next_turn(self) -> Deferred[None]:
        """Return a Deferred that fires in the next turn of the reactor that has time."""
        resting: Deferred[None] = Deferred(lambda resting: self._resting.pop(resting, None))
        self._resting[resting] = None
        self._turn_later()
        return resting

    def _tick_later(self) -> None:
        if self._tick_call is None:
            self._tick_call = self._reactor.callLater(_TICK_SECONDS, self._tick)

    def _turn_later(self) -> None:
        if self._turn_call is None:
            self._turn_call = self._reactor.callLater(0, self._turn)

    def _tick(self) -> None:
        self._tick_call = None
        self._budget.account_anew()
        self._budget.make_room()
        end = self._seconds() + _TURN_SECONDS
        for _ in range(_A_TICK):
            if not self._waiting or self._budget.is_exceeded or self._seconds() >= end:
                break
            waiting = next(iter(self._waiting))
            del self._waiting[waiting]
            waiting.callback(not self.is_open)
        if self._waiting:
            self._tick_later()

    def _turn(self) -> None:
        self._turn_call = None
        end = self._seconds() + _TURN_SECONDS
        # No more than are there now: those that come back have their next page in the next turn.
        for _ in range(len(self._resting)):
            if not self._resting or self._seconds() >= end:
                break
            resting = next(iter(self._resting))
            del self._resting[resting]
            resting.callback(None)
        if self._resting:
            self._turn_later()
