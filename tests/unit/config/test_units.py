from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.config.units import (
    SIZES,
    TIMES,
    parse_seconds,
    parse_size,
    shown_seconds,
    shown_size,
)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (0, 0),
        ("0", 0),
        ("4096", 4096),
        ("1B", 1),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("1MiB", 1048576),
        ("2GiB", 2147483648),
    ],
)
def test_a_size(text: object, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1MB", "1kB", "1K", "1kib", "1.5MiB", "-1", "+1", "1_0", "1  B", "KiB"]
)
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_size(text)


@pytest.mark.parametrize("value", [None, True, 1.0, b"1", [1]])
def test_what_is_no_number_and_no_text_is_no_size(value: object) -> None:
    with pytest.raises(TypeError):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0.0),
        (2.5, 2.5),
        ("5", 5.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("5s", 5.0),
        ("7ms", 0.007),
        ("500 ms", 0.5),
        ("1.5m", 90.0),
        ("24h", 86400.0),
    ],
)
def test_a_time(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", ".", "s", "1d", "1S", "1min", "-1s", "nan", "inf", "1e3", "1_0s", "1s ", "1h1m"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_seconds(text)


@pytest.mark.parametrize("value", [None, False, b"1"])
def test_what_is_no_number_and_no_text_is_no_time(value: object) -> None:
    with pytest.raises(TypeError):
        parse_seconds(value)


@given(st.integers(0, 10**15), st.sampled_from(sorted(SIZES)))
def test_a_size_that_is_shown_is_the_same_size(number: int, unit: str) -> None:
    assert parse_size(shown_size(number * SIZES[unit])) == number * SIZES[unit]


@given(st.text(max_size=12))
def test_any_text_is_a_size_and_a_time_or_an_error(text: str) -> None:
    for parse in (parse_size, parse_seconds):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0
        assert text.isascii()
        assert text[0] in "0123456789."


def test_what_is_shown() -> None:
    assert [shown_size(each) for each in (0, 1, 4096, 1 << 20, 1500)] == [
        *("0", "1B", "4KiB", "1MiB", "1500B"),
    ]
    assert [shown_seconds(each) for each in (0.0, 0.5, 20.0)] == ["0", "0.5s", "20s"]
    assert set(TIMES) == {"ms", "s", "m", "h"}
