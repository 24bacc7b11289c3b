"""Let connections fetch past messages only while there is memory for them."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from ..protocol.budget import Budget

_TICK_SECONDS = 0.05
_A_TICK = 8
"""The most connections that go on in one tick. Their messages are counted a moment later."""


class MemoryGate:
    """Makes connections wait for past messages while all connections hold too much memory.

    Messages that are published come anyway. But any client can ask for past ones, and a thousand
    that never read would each take a full buffer. One that waits has a position only. If no memory
    becomes free, some go on in each tick all the same until the budget is exceeded, and the budget
    has others give up what they hold. So clients that do not read keep no other from its messages.
    """

    def __init__(self, budget: Budget, reactor: Any) -> None:
        self._budget = budget
        self._reactor = reactor
        self._waiting: deque[Deferred[bool]] = deque()
        self._call: Any = None

    @property
    def is_open(self) -> bool:
        """True if there is memory for more past messages."""
        limit = self._budget.limit
        return not limit or self._budget.octets < limit - limit // 8

    def wait(self) -> Deferred[bool]:
        """Return a Deferred that fires when a connection may go on.

        It fires with True if that is although there is no memory.
        """
        waiting: Deferred[bool] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self._tick_later()
        return waiting

    def _tick_later(self) -> None:
        if self._call is None:
            self._call = self._reactor.callLater(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._call = None
        self._budget.account_anew()
        self._budget.make_room()
        for _ in range(_A_TICK):
            if not self._waiting or self._budget.is_exceeded:
                break
            self._waiting.popleft().callback(not self.is_open)
        if self._waiting:
            self._tick_later()
