"""The tickets of a service in several processes: the parent keeps them, and workers claim them."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from ...auth.tickets import TicketClaims
from ..wire.orders import TicketTold
from ..wire.reports import AskTicket

_log = Logger(namespace="wsservice")


class TicketWorker(Protocol):
    """A worker, as far as it gets answers here."""

    bus: Any


class TicketAnswers:
    """Answers workers out of `tickets`, which are in this process."""

    def __init__(self, tickets: TicketClaims) -> None:
        self._tickets = tickets

    def asked(self, worker: TicketWorker, message: AskTicket) -> None:
        """Answer a worker with the content of a ticket, which is used by that."""

        def answer(content: bytes | None) -> None:
            told = None if content is None else content.decode()
            worker.bus.say(TicketTold(message.request, told))

        claimed = self._tickets.claim(message.digest).addCallback(answer)
        # Without an answer the worker refuses its client after a while.
        claimed.addErrback(lambda failure: _log.failure("cannot claim a ticket", failure))
