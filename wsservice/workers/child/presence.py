"""A worker's questions to its parent: who is on a channel, in all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed

from ...channels.presence import Presence
from ..wire.bus import Bus
from ..wire.orders import PresenceTold
from ..wire.reports import AskPresence

_LONGEST = 10.0
"""Seconds to wait for the parent's answer. The parent asks other nodes twice, for 2 s each, and
they ask their workers."""

_REQUESTS = 2**31
"""The count of request numbers; after it they begin at 1 again."""

_OTHERS = "the other workers"
"""The name of the other workers in `missing` if the parent does not answer."""


class ParentQuestions:
    """Asks the parent, over `bus`. `own` returns the presence in this worker alone."""

    def __init__(self, bus: Bus, reactor: Any, own: Callable[[str, int], Presence]) -> None:
        self._bus = bus
        self._reactor = reactor
        self._own = own
        self._number = 0
        self._is_over = False
        self._asked: dict[int, tuple[str, int, Any, Deferred[Presence]]] = {}

    def ask(self, channel: str, limit: int) -> Deferred[Presence]:
        """Fire with the presence of a channel; of this worker alone, if the parent is silent."""
        if self._is_over:
            return succeed(self._without_parent(channel, limit))
        self._number = self._number % _REQUESTS + 1
        deadline = self._reactor.callLater(_LONGEST, self._settle, self._number, None)
        done: Deferred[Presence] = Deferred()
        self._asked[self._number] = (channel, limit, deadline, done)
        self._bus.say(AskPresence(self._number, channel, limit))
        return done

    def answered(self, message: PresenceTold) -> None:
        """The parent has answered."""
        self._settle(message.request, message.answer)

    def end(self) -> None:
        """Answer all questions at once, later ones too, since the parent is gone."""
        self._is_over = True
        for request in tuple(self._asked):
            self._settle(request, None)

    def _without_parent(self, channel: str, limit: int) -> Presence:
        own = self._own(channel, limit)
        return attrs.evolve(own, missing=(_OTHERS,))

    def _settle(self, request: int, answer: Mapping[str, Any] | None) -> None:
        if request not in self._asked:
            return
        channel, limit, deadline, done = self._asked.pop(request)
        if deadline.active():
            deadline.cancel()
        if answer is None:
            done.callback(self._without_parent(channel, limit))
        else:
            done.callback(Presence.of(channel, answer))
