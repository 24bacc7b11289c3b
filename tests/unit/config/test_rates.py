"""Limits on speed as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.config.config import Config
from wsservice.config.rates import PARTIES, Rate, parse_rate, rates_of
from wsservice.config.sources import from_environment, from_file
from wsservice.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100", Rate(100, 1.0, 100)),
        ("100:200", Rate(100, 1.0, 200)),
        ("100/s:1", Rate(100, 1.0, 1)),
        ("10/m", Rate(10, 60.0, 10)),
        ("1/h:5", Rate(1, 3600.0, 5)),
        ("0", None),
        ("0:5", None),
    ],
)
def test_a_rate(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate
    if rate is not None:
        assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("64KiB", Rate(65536, 1.0, 65536)),
        ("64KiB/m:1MiB", Rate(65536, 60.0, 1 << 20)),
        ("100B:200", Rate(100, 1.0, 200)),
    ],
)
def test_a_rate_of_octets_takes_units(text: str, rate: Rate) -> None:
    assert parse_rate(text, sizes=True) == rate
    with pytest.raises(ValueError, match=r"^"):
        parse_rate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1:",
        "1:0",
        ":5",
        "-1",
        "1.5",
        "1/d",
        "1/",
        "1s",
        "1 ",
        "\u0661",
        "1e3",
        "1:2:3",
        "9" * 16,
    ],
)
def test_any_other_text_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_rate(text)


@given(st.text(max_size=12))
def test_no_text_makes_a_rate_that_divides_by_zero(text: str) -> None:
    try:
        rate = parse_rate(text, sizes=True)
    except ValueError:
        return
    assert rate is None or (rate.per_second > 0 and rate.seconds_for_one > 0 and rate.burst > 0)


def test_each_party_has_its_own_and_the_first_is_meant_without_one() -> None:
    rates = rates_of(["5", "address=10:20", "user=0"], PARTIES)
    assert rates == {"connection": Rate(5, 1.0, 5), "address": Rate(10, 1.0, 20)}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("limit_messages", ["5", "connection=6"]),
        ("limit_messages", ["host=5"]),
        ("limit_messages", ["=5"]),
        ("limit_messages", ["address=user=5"]),
        ("limit_messages", "64KiB"),
        ("limit_messages", [5]),
        ("limit_messages", 5),
        ("limit_messages", ""),
        ("limit_connects", "connection=5"),
        ("limit_octets", "1MB"),
        ("limit_action", "drop"),
        ("max_subscriptions", -1),
        ("max_subscriptions", 18),
    ],
)
def test_a_wrong_one_is_refused_in_one_line(option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        Config(**{option: value})
    said = str(refused.value)
    assert said.startswith(f"--{option.replace('_', '-')}: ")
    assert "is not allowed; give " in said
    assert "\n" not in said


def test_what_was_given_more_than_once_is_shown_as_people_wrote_it() -> None:
    with pytest.raises(ConfigError, match=r"^--limit-messages: '5', 'fast' is not allowed; give "):
        Config(limit_messages=("5", "fast"))


def test_they_come_from_a_file_and_from_the_environment() -> None:
    lines = b'limit_messages = ["50:100", "address=200"]'
    config = Config(**{name: each.value for name, each in from_file(lines, "x").items()})
    assert config.message_rates == {
        "connection": Rate(50, 1.0, 100),
        "address": Rate(200, 1.0, 200),
    }
    given = from_environment({"WSSERVICE_LIMIT_OCTETS": "64KiB address=1MiB:2MiB"})
    config = Config(limit_octets=given["limit_octets"].value)
    assert config.octet_rates == {
        "connection": Rate(65536, 1.0, 65536),
        "address": Rate(1 << 20, 1.0, 2 << 20),
    }
    assert Config(limit_connects=("3",)).connect_rates == {"address": Rate(3, 1.0, 3)}
