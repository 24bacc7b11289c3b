from __future__ import annotations

import pytest

from wsservice.net.backoff import (
    FIRST_DELAY_SECONDS,
    LONGEST_ASKED_SECONDS,
    LONGEST_DELAY_SECONDS,
    Backoff,
    retry_after,
)


def test_the_bound_of_a_delay_doubles_up_to_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_delay_is_any_up_to_its_bound() -> None:
    backoff = Backoff(iter([0.0, 0.5]).__next__)
    assert [backoff.delay(), backoff.delay()] == [0.0, 1.0]


def test_by_itself_it_is_random() -> None:
    delays = [Backoff().delay() for _ in range(50)]
    assert len(set(delays)) > 40
    assert all(0 <= each < FIRST_DELAY_SECONDS for each in delays)


def test_it_begins_anew_when_it_worked() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.delay()
    backoff.delay()
    backoff.reset()
    assert backoff.delay() == 1


def test_years_of_failures_do_no_harm() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay() for _ in range(5000)][-1] == LONGEST_DELAY_SECONDS


def test_a_server_may_ask_for_time_within_a_bound() -> None:
    backoff = Backoff(lambda: 1.0)
    assert backoff.delay(10.0) == 11
    assert backoff.delay(1e9) == LONGEST_ASKED_SECONDS + 2
    assert backoff.delay(None) == 4


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("9" * 5000, 999_999_999.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 59.0),
        ("Fri, 31 Dec 1999 23:58:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Fri, 31 Dec 99999999 23:59:59 GMT", None),
    ],
)
def test_the_header_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, 946684740.0) == seconds
