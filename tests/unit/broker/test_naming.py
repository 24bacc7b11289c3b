from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.naming import LONGEST, Names, escaped
from wsservice.errors import ConfigError

# Halves of surrogate pairs too: a path may have them.
TEXT = st.text(st.characters())


def test_a_name_says_whose_it_is_and_of_what_kind() -> None:
    names = Names("app:prod")
    assert names.of("said", "chat/room-1") == b"app:prod:said:{chat/room-1}"
    assert names.one("nodes") == b"app:prod:nodes"


def test_what_means_something_to_redis_is_escaped() -> None:
    assert escaped("a b{c}*?[d]\\:%\n\u00e4") == "a%20b%7Bc%7D%2A%3F%5Bd%5D%5C%3A%25%0A%C3%A4"


def test_the_empty_name_has_a_hash_tag_too() -> None:
    # Of {} alone the whole name would be hashed, and each key be somewhere else.
    assert Names("p").of("said", "") == b"p:said:{%}"


def test_a_long_name_is_bounded() -> None:
    long = "a" * LONGEST
    assert escaped(long) == long
    assert len(escaped(long + "a")) < LONGEST
    assert escaped(long + "a") != escaped(long + "b")


@given(TEXT)
def test_a_name_is_plain_whatever_is_in_it(name: str) -> None:
    said = escaped(name)
    assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", said)
    assert len(said) <= LONGEST


@given(TEXT, TEXT)
def test_two_names_never_come_to_the_same(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


@given(TEXT)
def test_an_escaped_name_is_not_the_name_of_another(name: str) -> None:
    if escaped(name) != name:
        assert escaped(escaped(name)) != escaped(name)


@pytest.mark.parametrize("prefix", ["", "a b", "a{b", "a}", "a*", "a\n", "\u00e4", "a" * 65])
def test_a_prefix_that_is_not_allowed(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"^--broker-prefix: .* is not allowed; give 1 to 64"):
        Names(prefix)


@pytest.mark.parametrize("kind", ["", "A", "a:b", "a{"])
def test_kinds_are_ours(kind: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(kind)}$"):
        Names("p").of(kind, "x")
