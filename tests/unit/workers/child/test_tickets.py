from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from wsservice.errors import TicketsError
from wsservice.workers.child.tickets import ParentTickets
from wsservice.workers.wire.orders import TicketTold
from wsservice.workers.wire.reports import AskTicket

from .test_presence import Bus


def made() -> tuple[ParentTickets, Bus, Clock]:
    bus: Any = Bus()
    clock = Clock()
    return ParentTickets(bus, clock), bus, clock


def test_the_parents_answers_go_to_their_claims() -> None:
    tickets, bus, clock = made()
    one: Any = tickets.claim("aa")
    two: Any = tickets.claim("bb")
    assert bus.said == [AskTicket(1, "aa"), AskTicket(2, "bb")]
    tickets.answered(TicketTold(2, None))
    tickets.answered(TicketTold(1, '{"user": "j\u00f6rg"}'))
    assert (one.result, two.result) == ('{"user": "j\u00f6rg"}'.encode(), None)
    assert clock.getDelayedCalls() == []
    tickets.answered(TicketTold(1, None))


def test_without_an_answer_nobody_is_let_in() -> None:
    tickets, _, clock = made()
    outcomes: list[Any] = []
    tickets.claim("aa").addErrback(lambda failure: outcomes.append(failure.value))
    clock.advance(2)
    (error,) = outcomes
    assert isinstance(error, TicketsError)
    assert str(error) == "the parent did not answer within 2 s"
    tickets.answered(TicketTold(1, "{}"))


def test_a_claim_that_is_given_up_is_forgotten() -> None:
    tickets, _, clock = made()
    claim = tickets.claim("aa")
    claim.addErrback(lambda _: None)
    claim.cancel()
    assert clock.getDelayedCalls() == []
    tickets.answered(TicketTold(1, "{}"))


def test_once_the_parent_is_gone_all_claims_fail() -> None:
    tickets, bus, clock = made()
    outcomes: list[Any] = []
    tickets.claim("aa").addErrback(lambda failure: outcomes.append(str(failure.value)))
    tickets.end()
    tickets.claim("bb").addErrback(lambda failure: outcomes.append(str(failure.value)))
    assert outcomes == ["the parent is gone"] * 2
    assert len(bus.said) == 1
    assert clock.getDelayedCalls() == []
