"""Samples have the figures of `/metrics`."""

from __future__ import annotations

import pytest

from .samples import Said, lag_between, said

_TEXT = """\
# HELP wsservice_connections Open connections.
# TYPE wsservice_connections gauge
wsservice_connections 7.0
# TYPE wsservice_connections_not_open gauge
wsservice_connections_not_open 2.0
# TYPE wsservice_connections_accepted_total counter
wsservice_connections_accepted_total 120.0
# TYPE wsservice_messages_total counter
wsservice_messages_total{direction="received"} 30.0
wsservice_messages_total{direction="sent"} 12.0
# TYPE wsservice_message_memory_octets gauge
wsservice_message_memory_octets 512.0
# TYPE wsservice_message_memory_octets_max gauge
wsservice_message_memory_octets_max 33554432.0
# TYPE wsservice_history_octets gauge
wsservice_history_octets 4096.0
# TYPE wsservice_history_octets_max gauge
wsservice_history_octets_max 8388608.0
# TYPE wsservice_channels gauge
wsservice_channels 3.0
# TYPE wsservice_reactor_lag_seconds histogram
wsservice_reactor_lag_seconds_bucket{le="0.001"} 4.0
wsservice_reactor_lag_seconds_bucket{le="0.01"} 6.0
wsservice_reactor_lag_seconds_bucket{le="+Inf"} 6.0
wsservice_reactor_lag_seconds_count 6.0
wsservice_reactor_lag_seconds_sum 0.012
"""


def _lag(total: float, *counts: int) -> Said:
    bounds = (0.001, 0.01, 0.1, float("inf"))
    return Said(0, 0, 0, 0, 0, 0, 0, total, dict(zip(bounds, counts, strict=True)))


def test_the_figures_are_read_and_series_of_one_name_add_up() -> None:
    answer = said(_TEXT)
    assert answer.connections == 9
    assert answer.accepted == 120
    assert answer.messages == 42
    assert answer.message_memory == 512
    assert answer.history == 4096
    assert answer.channels == 3
    assert answer.workers_lost == 0
    assert answer.lag_total == pytest.approx(0.012)
    assert answer.lag_counts == {0.001: 4, 0.01: 6, float("inf"): 6}


def test_the_lag_of_a_second_is_the_difference_of_two_answers() -> None:
    before = _lag(0.010, 5, 6, 6, 6)
    mean, worst = lag_between(before, _lag(0.050, 7, 10, 10, 10))
    assert mean == pytest.approx(0.010)
    assert worst == 0.01


def test_the_worst_lag_is_that_of_the_second_alone() -> None:
    before = _lag(5.0, 5, 6, 6, 9)
    assert lag_between(before, _lag(5.001, 9, 10, 10, 13))[1] == 0.001


def test_a_lag_above_all_bounds_is_twice_the_last_of_them() -> None:
    assert lag_between(_lag(0, 0, 0, 0, 0), _lag(9, 0, 0, 0, 1))[1] == 0.2


def test_nothing_was_measured() -> None:
    same = _lag(0.010, 5, 6, 6, 6)
    assert lag_between(same, same) == (0.0, 0.0)
