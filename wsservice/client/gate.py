"""Let senders wait for room, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Gate:
    """Let senders pass while there is room. It is a producer: while paused, nobody passes."""

    def __init__(self) -> None:
        #: True while there is no room.
        self.paused = False
        self._waiting: dict[Deferred[Any], Callable[[], None]] = {}
        self._error: Callable[[], Exception] | None = None

    def enter(self, act: Callable[[], None]) -> Deferred[None]:
        """Call `act` when it is this sender's turn. Fires then, or fails with the error of `act`.

        If cancelled before, `act` is not called. After `shut`, it fails with the error of `shut`.
        """
        if self._error is not None:
            return fail(self._error())
        if not self.paused and not self._waiting:
            return execute(act)
        entered: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[entered] = act
        return entered

    def shut(self, error: Callable[[], Exception]) -> None:
        """Let nobody pass from now on. `error` makes an error for each sender."""
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
        """Do nothing: `shut` follows, with the reason."""
