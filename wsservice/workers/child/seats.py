"""A worker's questions to its parent: whether a user may have one more connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from ...http.refusal import Refusal
from ...server.seats import FULL, NOT_KNOWN, SeatedConnection, Seats, make_way
from ..wire.bus import Bus
from ..wire.orders import MakeWay, SeatGiven
from ..wire.reports import AskSeat

_LONGEST = 2.0
"""Seconds to wait for the parent's answer. A client waits for it in its handshake, whose own time
would end first, and without an answer."""

_REQUESTS = 2**31
"""The count of request numbers; after it they begin at 1 again."""


class SharedSeats(Seats):
    """The seats of users in a worker, which the parent counts for all workers.

    A connection is refused with 503 if the parent does not answer.
    """

    def __init__(self, bus: Bus, reactor: Any) -> None:
        super().__init__()
        self._bus = bus
        self._reactor = reactor
        self._number = 0
        self._asked: dict[int, tuple[Any, Deferred[Refusal | None]]] = {}

    def claim(self, connection: SeatedConnection) -> Deferred[Refusal | None] | Refusal | None:
        """Ask the parent for a seat: see `Seats`."""
        if not self.most:
            return None
        self._number = self._number % _REQUESTS + 1
        deadline = self._reactor.callLater(_LONGEST, self._settle, self._number, NOT_KNOWN)
        done: Deferred[Refusal | None] = Deferred()
        self._asked[self._number] = (deadline, done)
        self._bus.say(AskSeat(self._number, int(connection.id), connection.user.id))
        return done

    def hear(self, message: SeatGiven | MakeWay) -> None:
        """Take the parent's answer, or close connections of a user as it orders."""
        if isinstance(message, SeatGiven):
            self._settle(message.request, None if message.given else FULL)
            return
        numbers = {str(each) for each in message.connections}
        there: Any = self.hub.user_members(message.user)
        for each in there:
            if each.id in numbers:
                make_way(each)

    def end(self) -> None:
        """Refuse all that wait, since the parent is gone."""
        for request in tuple(self._asked):
            self._settle(request, NOT_KNOWN)

    def _settle(self, request: int, refusal: Refusal | None) -> None:
        if request not in self._asked:
            return
        deadline, done = self._asked.pop(request)
        if deadline.active():
            deadline.cancel()
        done.callback(refusal)
