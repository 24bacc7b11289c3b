"""Share one question to a history that is kept elsewhere among all that wait for its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from ..errors import HistoryAwayError
from .history import Missed
from .page import ANSWER_SECONDS, HistoryPage
from .query import Latest, Position

_TOLD_AT_ONCE = 100
"""Connections that get a page in one turn, before other connections are served."""


@attrs.define(eq=False)
class HistoryQuestion:
    """A question for the messages of a channel after a position, or for its latest ones.

    With None it is a question for the channel's position only.
    """

    channel: str
    since: Position | Latest | None
    askers: list[Deferred[Missed]] = attrs.field(factory=list)

    def asker(self, abandoned: Callable[[], None] = lambda: None) -> Deferred[Missed]:
        """Return a Deferred of the answer for one more asker, who may cancel it.

        `abandoned` is called once all askers have cancelled theirs.
        """

        def forget(asker: Deferred[Missed]) -> None:
            if asker in self.askers:
                self.askers.remove(asker)
            if not self.askers:
                abandoned()

        asker: Deferred[Missed] = Deferred(forget)
        self.askers.append(asker)
        return asker

    def answer(self, missed: Missed, reactor: Any) -> None:
        """Answer all askers. If they are many, each turn answers a part of them."""
        if not missed.entries:
            # An answer without messages is true in this turn only: another may come in the next.
            _fire(tuple(self.askers), missed)
            return
        now = self.askers[:_TOLD_AT_ONCE]
        del self.askers[:_TOLD_AT_ONCE]
        if self.askers:
            reactor.callLater(0, self.answer, missed.later(), reactor)
        _fire(now, missed)


def in_time(page: Deferred[HistoryPage], reactor: Any) -> Deferred[HistoryPage]:
    """Return the Deferred of a page, which fails with `HistoryAwayError` after some seconds."""

    def late(_value: object, seconds: float) -> HistoryPage:
        raise HistoryAwayError(f"the history did not answer within {seconds:g} s")

    return page.addTimeout(ANSWER_SECONDS, reactor, late)


def _fire(askers: Sequence[Deferred[Missed]], missed: Missed) -> None:
    for asker in askers:
        if not asker.called:  # an earlier asker may have closed this one's connection
            asker.callback(missed)
