"""Who wants to send waits here for room, one behind the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Gate:
    """Lets through while there is room. A producer: paused, it lets nobody through."""

    def __init__(self) -> None:
        #: Whether there is no room.
        self.paused = False
        self._waiting: dict[Deferred[Any], Callable[[], None]] = {}
        self._error: Callable[[], Exception] | None = None

    def enter(self, act: Callable[[], None]) -> Deferred[None]:
        """Act when it is this one's turn: fires when it did, or fails with what it raised.

        Cancelled, it does not act. Fails with the error given to `shut` from then on.
        """
        if self._error is not None:
            return fail(self._error())
        if not self.paused and not self._waiting:
            return execute(act)
        entered: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[entered] = act
        return entered

    def shut(self, error: Callable[[], Exception]) -> None:
        """Let nobody through any more: each gets an error, made for it."""
        self._error = error
        while self._waiting:
            entered = next(iter(self._waiting))
            del self._waiting[entered]
            entered.errback(error())

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        while self._waiting and not self.paused:
            entered = next(iter(self._waiting))
            act = self._waiting.pop(entered)
            execute(act).chainDeferred(entered)

    def stopProducing(self) -> None:
        """Who shuts it says why."""
