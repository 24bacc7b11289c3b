from __future__ import annotations

import re

import pytest

from wsservice.config.close_codes import (
    SENDABLE,
    CloseCode,
    checked_close,
    is_on_the_wire,
    is_sendable,
)


def test_close_codes_are_those_of_the_registry() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        "NORMAL": 1000,
        "GOING_AWAY": 1001,
        "PROTOCOL_ERROR": 1002,
        "NO_STATUS": 1005,
        "ABNORMAL": 1006,
        "INVALID_PAYLOAD": 1007,
        "POLICY_VIOLATION": 1008,
        "TOO_BIG": 1009,
        "INTERNAL_ERROR": 1011,
        "TRY_AGAIN_LATER": 1013,
    }


def test_the_codes_that_may_be_sent_are_those_that_the_text_names() -> None:
    named: set[int] = set()
    for first, last in re.findall(r"(\d+) to (\d+)", SENDABLE):
        named |= set(range(int(first), int(last) + 1))
    assert {code for code in range(6000) if is_sendable(code)} == named


def test_a_client_alone_may_say_that_it_misses_an_extension() -> None:
    differ = {code for code in range(6000) if is_on_the_wire(code) != is_sendable(code)}
    assert differ == {1010}
    assert is_on_the_wire(1010)


def test_a_reason_is_checked_in_octets() -> None:
    assert checked_close(1000, "bye") == b"bye"
    assert checked_close(4999, "é" * 61 + "x") == "é".encode() * 61 + b"x"
    with pytest.raises(ValueError, match="a reason of 124 octets is not allowed; give at most 123"):
        checked_close(1000, "é" * 62)


@pytest.mark.parametrize("code", [999, 1005, 1006, 1010, 2999, 5000, True])
def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=f"close code {code!r} is not allowed; give 1000 to"):
        checked_close(code, "")
