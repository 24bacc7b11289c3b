from __future__ import annotations

from twisted.internet.task import Clock

from wsservice.workers.child.patience import Patient


class Member:
    """A connection, in the middle of its handshake at first."""

    STATE_CONNECTING = 1

    def __init__(self) -> None:
        self.state = self.STATE_CONNECTING
        self.closed = 0

    def go_away(self) -> None:
        self.closed += 1


def test_a_connection_shakes_hands_before_it_goes() -> None:
    member, clock = Member(), Clock()
    Patient(member, clock).go_away()
    clock.pump([0.1] * 5)
    assert member.closed == 0
    member.state = 3
    clock.advance(0.1)
    assert member.closed == 1
    assert clock.getDelayedCalls() == []


def test_an_open_one_goes_at_once() -> None:
    member, clock = Member(), Clock()
    member.state = 3
    Patient(member, clock).go_away()
    assert member.closed == 1
