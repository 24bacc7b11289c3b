"""A question to a history that is kept elsewhere, and those who wait for its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from ..channels import Position
from ..history import Missed

_TOLD_AT_ONCE = 100
"""Connections that are given a page before others have their turn."""


@attrs.define(eq=False)
class Question:
    """What came on a channel since a position; or, since None, only where it is now."""

    channel: str
    since: Position | None
    askers: list[Deferred[Missed]] = attrs.field(factory=list)

    def asker(self, abandoned: Callable[[], None] = lambda: None) -> Deferred[Missed]:
        """One more who asks, until it is cancelled; `abandoned` is called where none is left."""

        def forget(asker: Deferred[Missed]) -> None:
            if asker in self.askers:
                self.askers.remove(asker)
            if not self.askers:
                abandoned()

        asker: Deferred[Missed] = Deferred(forget)
        self.askers.append(asker)
        return asker

    def answer(self, missed: Missed, reactor: Any) -> None:
        """Tell all who ask: many of them one part in each turn."""
        if not missed.entries:
            # That nothing is missed holds in this turn only.
            _fire(tuple(self.askers), missed)
            return
        now = self.askers[:_TOLD_AT_ONCE]
        del self.askers[:_TOLD_AT_ONCE]
        if self.askers:
            reactor.callLater(0, self.answer, missed, reactor)
        _fire(now, missed)


def _fire(askers: Sequence[Deferred[Missed]], missed: Missed) -> None:
    for asker in askers:
        if not asker.called:  # as it is where one before it had the connection closed
            asker.callback(missed)
