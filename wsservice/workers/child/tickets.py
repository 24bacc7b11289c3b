"""A worker's claims of tickets, which its parent keeps."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall

from ...errors import TicketsError
from ..wire.bus import Bus
from ..wire.orders import TicketTold
from ..wire.reports import AskTicket

_LONGEST = 2.0
"""Seconds to wait for the parent's answer. A client waits for it in its handshake."""

_REQUESTS = 2**31
"""The count of request numbers; after it they begin at 1 again."""


class ParentTickets:
    """Claims tickets from the parent, over `bus`."""

    def __init__(self, bus: Bus, reactor: Any) -> None:
        self._bus = bus
        self._reactor = reactor
        self._number = 0
        self._is_over = False
        self._asked: dict[int, tuple[Deferred[bytes | None], IDelayedCall]] = {}

    def claim(self, digest: str) -> Deferred[bytes | None]:
        """Take a ticket out: see `auth.tickets.TicketClaims`."""
        if self._is_over:
            return fail(_gone())
        self._number = number = self._number % _REQUESTS + 1
        claimed: Deferred[bytes | None] = Deferred(lambda _: self._abandon(number))
        late = TicketsError(f"the parent did not answer within {_LONGEST:g} s")
        deadline = self._reactor.callLater(_LONGEST, self._fail, number, late)
        self._asked[number] = claimed, deadline
        self._bus.say(AskTicket(number, digest))
        return claimed

    def answered(self, message: TicketTold) -> None:
        """Settle a claim with the parent's answer."""
        claimed = self._forget(message.request)
        if claimed is not None:
            content = message.content
            claimed.callback(None if content is None else content.encode())

    def end(self) -> None:
        """Fail all claims, later ones too, since the parent is gone."""
        self._is_over = True
        for number in tuple(self._asked):
            self._fail(number, _gone())

    def _fail(self, number: int, error: TicketsError) -> None:
        claimed = self._forget(number)
        if claimed is not None:
            claimed.errback(error)

    def _abandon(self, number: int) -> None:
        self._forget(number)

    def _forget(self, number: int) -> Deferred[bytes | None] | None:
        claimed, deadline = self._asked.pop(number, (None, None))
        if deadline is not None and deadline.active():
            deadline.cancel()
        return claimed


def _gone() -> TicketsError:
    return TicketsError("the parent is gone")
