"""The counts of acts, and of those that failed."""

from __future__ import annotations

from .tally import Tally


def test_failures_are_counted_beyond_those_in_words() -> None:
    tally = Tally()
    said = [tally.fail(number, number, "visit", "no echo") for number in range(200)]
    assert tally.failures_so_far == 200
    assert tally.failures == [each for each in said if each is not None]
    assert 0 < len(tally.failures) < 200
    assert str(tally.failures[7]) == "7.0 s, visit: no echo"


def test_acts_of_each_side_are_added_up() -> None:
    tally = Tally()
    tally.done["visit"] += 3
    tally.done["flood"] += 2
    assert (tally.honest, tally.hostile) == (3, 2)


def test_an_act_that_fails_while_the_load_stands_still_is_counted_apart() -> None:
    tally = Tally()
    tally.stands_still(20.0)
    assert tally.fail(19.0, 21.0, "visit", "shut out") is None
    assert (tally.stood_still, tally.failures_so_far) == (1, 0)
    # One that began later has no such excuse.
    assert tally.fail(20.5, 21.0, "visit", "no echo") is not None
    assert (tally.stood_still, tally.failures_so_far) == (1, 1)
