from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.redis.identity import Identity, identity_of


def said(**facts: str) -> dict[bytes, Any]:
    usual = {"server": "redis", "version": "7.0.15", "role": "master", "mode": "standalone"}
    return {name.encode(): value.encode() for name, value in (usual | facts).items()}


@pytest.mark.parametrize(
    ("facts", "name", "is_sharded"),
    [
        ({}, "Redis 7.0.15", True),
        ({"version": "6.2.14"}, "Redis 6.2.14", False),
        ({"version": "10.1"}, "Redis 10.1", True),
        ({"version": "nonsense\x1b"}, "Redis nonsense\\x1b", False),
        ({"server": "valkey", "version": "8.1.0"}, "Valkey 8.1.0", True),
        ({"server": "other", "version": "1"}, "other 1", False),
    ],
)
def test_what_it_is(facts: dict[str, str], name: str, is_sharded: bool) -> None:
    assert identity_of(said(**facts)) == Identity(name, is_sharded, None)


def test_one_that_is_not_the_right_one() -> None:
    assert identity_of(said(role="replica")).problem == "it is a replica, which accepts no writes"
    problem = identity_of(said(mode="cluster")).problem
    assert problem is not None
    assert problem.startswith("it is one of a cluster of Redis")


@pytest.mark.parametrize("answer", [None, b"OK", [], {}, {b"version": 7, b"role": [b"master"]}])
def test_one_that_says_nothing_of_it_is_taken(answer: Any) -> None:
    assert identity_of(answer) == Identity("", False, None)


@given(st.dictionaries(st.sampled_from([b"server", b"version", b"role", b"mode"]), st.binary()))
def test_whatever_it_says_can_be_shown(facts: dict[bytes, bytes]) -> None:
    identity = identity_of(facts)
    assert identity.name.isprintable()
    assert str(identity.problem).isprintable()
