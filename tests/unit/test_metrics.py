from __future__ import annotations

import pytest

from wsservice.metrics import Counts, Histogram, Traffic, close_label


class TestHistogram:
    def test_a_value_is_counted_in_all_buckets_that_it_is_no_more_than(self) -> None:
        histogram = Histogram([0.5, 1.0, 2.0])
        for value in (0.1, 0.5, 0.7, 2.0, 9.0):
            histogram.observe(value)
        assert histogram.buckets() == [("0.5", 2), ("1.0", 3), ("2.0", 4), ("+Inf", 5)]
        assert histogram.total == pytest.approx(12.3)

    def test_a_clock_that_was_set_back_makes_no_sum_less(self) -> None:
        histogram = Histogram([1.0])
        histogram.observe(-5)
        assert histogram.buckets() == [("1.0", 1), ("+Inf", 1)]
        assert histogram.total == 0


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (1000, "1000"),
        (1006, "1006"),
        (1015, "1015"),
        (3000, "3xxx"),
        (4999, "4xxx"),
        (2000, "other"),
        (5000, "other"),
        (65535, "other"),
    ],
)
def test_a_peer_cannot_make_up_labels(code: int, label: str) -> None:
    assert close_label(code) == label


def test_what_passed_on_connections_that_are_over_is_kept_and_what_waited_is_not() -> None:
    counts = Counts()
    counts.left(Traffic(1, 2, 3, 4, 5))
    counts.left(Traffic(10, 20, 30, 40, 50))
    assert counts.past == Traffic(11, 22, 33, 44, 0)


def test_codes_that_the_service_sends_are_there_from_the_start() -> None:
    assert Counts().closes["1013"] == 0
    assert {"1000", "1001", "1006", "1011"} <= set(Counts().closes)
