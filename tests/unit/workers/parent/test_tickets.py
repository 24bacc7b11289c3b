from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail
from twisted.internet.task import Clock

from wsservice.auth.tickets import LocalTickets
from wsservice.errors import TicketsError
from wsservice.workers.parent.tickets import TicketAnswers
from wsservice.workers.wire.orders import TicketTold
from wsservice.workers.wire.reports import AskTicket

from ....support import Logged
from .test_presence import Worker


def test_of_two_workers_one_gets_it() -> None:
    store = LocalTickets(Clock().seconds)
    store.put("aa", b'{"user": "tom"}')
    answers = TicketAnswers(store)
    one, two = Worker(1, None), Worker(2, None)
    answers.asked(one, AskTicket(7, "aa"))
    answers.asked(two, AskTicket(3, "aa"))
    assert one.said == [TicketTold(7, '{"user": "tom"}')]
    assert two.said == [TicketTold(3, None)]


def test_a_store_that_fails_gives_no_answer(logged: Logged) -> None:
    class Away:
        def claim(self, _digest: str) -> Any:
            return fail(TicketsError("away"))

    worker = Worker(1, None)
    TicketAnswers(Away()).asked(worker, AskTicket(7, "aa"))
    assert worker.said == []
    assert "cannot claim a ticket" in logged.text
