"""How many connections each user has, in all workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs

from ...server.admission import Admission
from ...server.seats import NEWEST, too_many
from ..wire.orders import MakeWay, SeatGiven
from ..wire.reports import AskSeat


class SeatedWorker(Protocol):
    """A worker, as far as it is used here."""

    bus: Any
    connections: dict[int, Admission]


@attrs.frozen(eq=False)
class _Seat:
    user: str
    worker: SeatedWorker
    number: int


class UserSeats:
    """The seats of users in all workers: see `server.seats`.

    A connection has its seat until its worker reports that it is gone, or the worker itself is.
    """

    def __init__(self) -> None:
        self._most = 0
        self._closes = NEWEST
        self._seats: dict[Admission, _Seat] = {}
        # Those of each user, in the order in which they were taken.
        self._users: dict[str, dict[_Seat, None]] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def change(self, most: int, closes: str) -> None:
        """Set the limit for new connections. Open ones stay."""
        self._most, self._closes = most, closes

    def asked(self, worker: SeatedWorker, message: AskSeat) -> None:
        """Answer a worker's question about a connection."""
        admission = worker.connections.get(message.connection)
        given = True
        if admission is not None:  # else it is gone already
            self.left([admission])
            given = self._take(_Seat(message.user, worker, message.connection), admission)
        worker.bus.say(SeatGiven(message.request, given))

    def _take(self, seat: _Seat, admission: Admission) -> bool:
        held = tuple(self._users.get(seat.user, ()))
        excess = too_many(held, self._most, self._closes) if self._most else ()
        if excess is None:
            return False
        for each in excess:
            each.worker.bus.say(MakeWay(each.user, (each.number,)))
        self._seats[admission] = seat
        self._users.setdefault(seat.user, {})[seat] = None
        return True

    def left(self, admissions: Iterable[Admission]) -> None:
        """Forget connections that are over. Idempotent."""
        for admission in admissions:
            seat = self._seats.pop(admission, None)
            if seat is not None:
                those = self._users[seat.user]
                del those[seat]
                if not those:
                    del self._users[seat.user]
