from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsservice.cluster.checking import (
    LARGEST,
    MalformedError,
    a_line,
    a_list,
    a_number,
    a_switch,
    a_text,
    an_object,
    member,
    parsed,
    seconds,
)


def test_an_object_of_json() -> None:
    assert parsed(b'{"a": [1, "\\ud800"]}', 100) == {"a": [1, "\ud800"]}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a": "' + b"x" * 200_000 + b'"}',
    ],
)
def test_what_is_none(octets: bytes) -> None:
    with pytest.raises(MalformedError):
        parsed(octets, 150_000)


RIGHT: list[tuple[Callable[..., Any], Any, tuple[Any, ...]]] = [
    (an_object, {}, ()),
    (a_list, [1, 2], (2,)),
    (a_number, 0, ()),
    (a_number, LARGEST, ()),
    (a_number, 5, (5, 5)),
    (seconds, 0, ()),
    (seconds, 1.5, ()),
    (a_text, "a\nb", (3,)),
    (a_line, "\u00e4b ", (3,)),
    (a_switch, False, ()),
]

WRONG: list[tuple[Callable[..., Any], Any, tuple[Any, ...]]] = [
    (an_object, [], ()),
    (an_object, None, ()),
    (a_list, [1, 2, 3], (2,)),
    (a_list, {}, (2,)),
    (a_list, "ab", (2,)),
    (a_number, -1, ()),
    (a_number, LARGEST + 1, ()),
    (a_number, True, ()),
    (a_number, 1.0, ()),
    (a_number, "1", ()),
    (a_number, 4, (5,)),
    (seconds, -0.1, ()),
    (seconds, float("inf"), ()),
    (seconds, 10**400, ()),
    (seconds, False, ()),
    (seconds, None, ()),
    (a_text, "abcd", (3,)),
    (a_text, b"abc", (3,)),
    (a_line, "a\nb", (3,)),
    (a_line, "\u202e", (3,)),
    (a_line, "\ud800", (3,)),
    (a_switch, 0, ()),
    (a_switch, None, ()),
]


@pytest.mark.parametrize(("check", "value", "bounds"), RIGHT)
def test_right(check: Callable[..., Any], value: Any, bounds: tuple[Any, ...]) -> None:
    assert check(value, "it", *bounds) == value


@pytest.mark.parametrize(("check", "value", "bounds"), WRONG)
def test_wrong(check: Callable[..., Any], value: Any, bounds: tuple[Any, ...]) -> None:
    with pytest.raises(MalformedError, match=r"^it is"):
        check(value, "it", *bounds)


def test_a_member() -> None:
    assert member({"a": None}, "a") is None
    with pytest.raises(MalformedError, match="there is no b"):
        member({"a": 1}, "b")
