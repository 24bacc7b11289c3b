"""claims.py: what `caps`, `channels` and `subs` may be, and what is said of others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.action import Action
from wsservice.auth.claims import NOTHING, ChannelClaims, ClaimError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(["channels", "match", "allow", "x"]) | st.text(max_size=3),
            each,
            max_size=3,
        )
    ),
    max_leaves=10,
)


def allowed(caps: Any, channel: str) -> set[str]:
    found = ChannelClaims.of({"caps": caps}).capability(channel)
    return set() if found is None else {each.value for each in found.actions}


def test_an_entry_is_exact_without_match() -> None:
    caps = [{"channels": ["room.*", "news"], "allow": ["sub", "pub", "hst", "prs"]}]
    assert allowed(caps, "news") == {each.value for each in Action}
    assert allowed(caps, "room.*") == {each.value for each in Action}
    assert allowed(caps, "room.1") == set()
    assert allowed(caps, "News") == set()


def test_a_wildcard_is_a_glob() -> None:
    caps = [{"channels": ["room.*", "a?c"], "match": "wildcard", "allow": ["sub"]}]
    assert allowed(caps, "room.1/2") == {"subscribe"}
    assert allowed(caps, "abc") == {"subscribe"}
    assert allowed(caps, "ac") == set()


def test_a_token_is_for_its_user_so_that_braces_are_letters() -> None:
    caps = [{"channels": ["user.{user}"], "match": "wildcard", "allow": ["sub"]}]
    assert allowed(caps, "user.tom") == set()
    assert allowed(caps, "user.{user}") == {"subscribe"}
    assert allowed([{**caps[0], "channels": ["{user}.*"]}], "{user}.1") == {"subscribe"}


def test_the_first_entry_that_names_a_channel_decides() -> None:
    caps = [
        {"channels": ["news"], "allow": ["pub"]},
        {"channels": ["*"], "match": "wildcard", "allow": ["sub"]},
    ]
    assert allowed(caps, "news") == {"publish"}
    assert allowed(caps, "other") == {"subscribe"}


def test_channels_and_subs_are_names_and_no_globs() -> None:
    claims = ChannelClaims.of({"channels": ["a", "b*"], "subs": {"c": {}}})
    assert [claims.name(each) for each in ("a", "b*", "bc", "c", "A")] == [
        *(True, True, False, True, False)
    ]
    assert claims.caps is None


def test_claims_without_any_of_them_cost_nothing() -> None:
    assert ChannelClaims.of({"sub": "tom"}) is NOTHING
    assert NOTHING.capability("a") is None
    assert not NOTHING.name("")


CAPS = "the claim caps"
ENTRY = "entry 1 of the claim caps"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"caps": None}, f"{CAPS} is not a list"),
        ({"caps": {"channels": ["a"]}}, f"{CAPS} is not a list"),
        ({"caps": [{}] * 101}, f"{CAPS} has more than 100 entries"),
        ({"caps": ["a"]}, f"{ENTRY} is no object of channels, match and allow"),
        (
            {"caps": [{"channels": [], "allow": [], "deny": []}]},
            f"{ENTRY} is no object of channels, match and allow",
        ),
        (
            {"caps": [{"channels": ["a"]}]},
            f"{ENTRY} has an allow that is no list of some of sub, pub, hst, prs",
        ),
        (
            {"caps": [{"channels": ["a"], "allow": ["sub", "x\n"]}]},
            f"{ENTRY} has an allow that is no list of some of sub, pub, hst, prs",
        ),
        (
            {"caps": [{"channels": ["a"], "allow": [["sub"]]}]},
            f"{ENTRY} has an allow that is no list of some of sub, pub, hst, prs",
        ),
        (
            {"caps": [{"channels": "a", "allow": ["sub"]}]},
            f"the channels of {ENTRY} is not a list with the names of channels",
        ),
        (
            {"caps": [{"channels": [1], "allow": ["sub"]}]},
            f"the channels of {ENTRY} has a name that is not text",
        ),
        (
            {"caps": [{"channels": ["a" * 256], "allow": ["sub"]}]},
            f"the channels of {ENTRY} has a name of more than 255 octets",
        ),
        (
            {"caps": [{"channels": ["a"], "allow": ["sub"], "match": "regex"}]},
            f"{ENTRY} has a match that is not wildcard",
        ),
        (
            {"caps": [{"channels": ["a"], "allow": ["sub"], "match": ["wildcard"]}]},
            f"{ENTRY} has a match that is not wildcard",
        ),
        (
            {"caps": [{"channels": [str(each) for each in range(600)], "allow": []}] * 2},
            f"{CAPS} names more than 1000 channels",
        ),
        (
            {"caps": [{"channels": ["a"] * 1001, "allow": []}]},
            f"the channels of {ENTRY} has more than 1000 names",
        ),
        ({"channels": {"a": 1}}, "the claim channels is not a list with the names of channels"),
        ({"subs": ["a"]}, "the claim subs is not an object with the names of channels"),
        ({"channels": ["\ud800" * 86]}, "the claim channels has a name of more than 255 octets"),
    ],
)
def test_a_malformed_claim_is_said_in_one_line_that_quotes_nothing(
    claims: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClaimError) as caught:
        ChannelClaims.of(claims)
    assert str(caught.value) == said


@given(JSON, JSON, JSON)
def test_any_claims_are_read_or_refused(caps: Any, channels: Any, subs: Any) -> None:
    try:
        claims = ChannelClaims.of({"caps": caps, "channels": channels, "subs": subs})
    except ClaimError as error:
        said = str(error)
    else:
        claims.capability("a")
        said = ""
    assert said == "" or said.isprintable()
