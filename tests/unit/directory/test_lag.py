from __future__ import annotations

from twisted.internet.task import Clock

from wsservice.directory.lag import Lag


def counted(lag: Lag) -> dict[str, float]:
    return dict(lag.seconds.buckets())


def test_a_reactor_that_is_in_time(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start()
    lag.start()
    clock.pump([0.25] * 8)
    assert counted(lag)["0.0001"] == 8
    assert lag.seconds.total == 0


def test_one_that_is_late_and_in_time_again(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start()
    clock.advance(0.25)
    clock.advance(0.85)  # due after a quarter
    assert counted(lag)["0.5"] == 1
    assert counted(lag)["1.0"] == 2
    for _ in range(40):
        clock.advance(0.05)
    assert counted(lag)["+Inf"] > 8
    assert counted(lag)["1.0"] - counted(lag)["0.1"] == 1


def test_how_late_it_was_lately(clock: Clock) -> None:
    lag = Lag(clock)
    assert lag.lately == 0
    lag.start()
    clock.advance(0.25)
    clock.advance(0.85)  # due after a quarter
    assert round(lag.lately, 6) == 0.6
    for _ in range(40):
        clock.advance(lag._due - clock.seconds())
    assert lag.lately < 0.001


def test_it_ends(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start()
    lag.stop()
    lag.stop()
    assert clock.getDelayedCalls() == []
