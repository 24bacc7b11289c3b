"""rules.py and permissions.py: who may do what, as a simple judge has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.action import Action
from wsservice.auth.claims import NOTHING, ChannelClaims
from wsservice.auth.contract import User
from wsservice.auth.permissions import UNRESTRICTED, Permissions
from wsservice.auth.rules import ChannelRules
from wsservice.config.rules import ChannelRule, Level, parse_rules

from ...examples import examples
from ..config.test_globs import GLOBS, NAMES, simply

TOM = User("tom")


def permissions(
    rules: list[dict[str, Any]],
    user: User | None = TOM,
    claims: dict[str, Any] | None = None,
    subscribed: tuple[str, ...] = (),
) -> Permissions:
    parsed = ChannelClaims.of(claims or {})
    return Permissions(ChannelRules(parse_rules(rules)), user, parsed, subscribed)


def verdicts(given: Permissions, channel: str) -> str:
    """Return the first letters of the actions that are allowed."""
    return "".join(each[0] for each in Action if given.may(each, channel))


ROOMS = {"match": "room.*", "subscribe": "users", "publish": "subscribers"}
OWN = {"match": "user.{user}", "subscribe": "users", "history": "users"}
PUBLIC = {"match": "public.*", "subscribe": "anyone", "presence": "anyone"}
NAMED = {"match": "doc.*", "subscribe": "token", "publish": "token"}
RULES = [ROOMS, OWN, PUBLIC, NAMED]


@pytest.mark.parametrize(
    ("channel", "user", "claims", "subscribed", "may"),
    [
        ("room.1", TOM, {}, (), "s"),
        ("room.1", TOM, {}, ("room.1",), "sp"),
        ("room.1", TOM, {}, ("room.2",), "s"),
        ("room.1", None, {}, ("room.1",), ""),
        ("Room.1", TOM, {}, (), ""),
        ("user.tom", TOM, {}, (), "sh"),
        ("user.ann", TOM, {}, (), ""),
        ("user.", None, {}, (), ""),
        ("user.ann", User("*"), {}, (), ""),
        ("user.ann", User("a?n"), {}, (), ""),
        ("user.ann", User("{user}"), {}, (), ""),
        ("user.*", User("*"), {}, (), "sh"),
        ("public.1", TOM, {}, (), "sp"),
        ("public.1", None, {}, (), "sp"),
        ("doc.1", TOM, {}, (), ""),
        ("doc.1", TOM, {"channels": ["doc.1"]}, (), "sp"),
        ("doc.1", TOM, {"subs": {"doc.1": {}}}, (), "sp"),
        ("doc.1", TOM, {"channels": ["doc.*"]}, (), ""),
        ("doc.1", TOM, {"caps": [{"channels": ["doc.1"], "allow": ["sub"]}]}, (), "s"),
        ("doc.1", TOM, {"caps": []}, (), ""),
        # A token adds to a rule, and counts where none matches; `channels` does not.
        ("room.1", TOM, {"caps": [{"channels": ["room.1"], "allow": ["hst"]}]}, (), "sh"),
        ("other", TOM, {"caps": [{"channels": ["other"], "allow": ["prs"]}]}, (), "p"),
        ("other", TOM, {"channels": ["other"]}, (), ""),
        ("other", TOM, {}, (), ""),
        ("", TOM, {}, (), ""),
    ],
)
def test_who_may_do_what(
    channel: str, user: User | None, claims: dict[str, Any], subscribed: tuple[str, ...], may: str
) -> None:
    assert verdicts(permissions(RULES, user, claims, subscribed), channel) == may


def test_the_first_rule_that_matches_counts() -> None:
    rules = [{"match": "room.secret"}, ROOMS]
    assert verdicts(permissions(rules), "room.secret") == ""
    assert verdicts(permissions(rules), "room.1") == "s"
    # The first matches for another user only.
    rules = [{"match": "user.{user}"}, {"match": "user.*", "subscribe": "users"}]
    assert verdicts(permissions(rules), "user.tom") == ""
    assert verdicts(permissions(rules), "user.ann") == "s"


def test_without_rules_a_user_may_as_without_auth_but_only_what_caps_allow() -> None:
    assert verdicts(permissions([]), "any") == "spp"
    assert verdicts(permissions([], None), "any") == "spp"
    assert verdicts(permissions([], subscribed=("any",)), "any") == "sphp"
    claims = {"caps": [{"channels": ["a"], "allow": ["sub"]}], "channels": ["b"]}
    assert verdicts(permissions([], claims=claims), "a") == "s"
    assert verdicts(permissions([], claims=claims), "b") == ""
    assert verdicts(permissions([], claims={"caps": []}), "a") == ""
    assert verdicts(permissions([], claims={"channels": ["b"]}), "a") == "spp"


def test_without_auth_all_may_do_anything() -> None:
    assert verdicts(UNRESTRICTED, "any") == "sphp"


def test_a_ruling_says_what_it_goes_by() -> None:
    claims = {"caps": [{"channels": ["x"], "allow": ["sub"]}]}
    asked = permissions(RULES, claims=claims)
    said = [
        asked.ruling(action, channel)
        for action, channel in (("publish", "room.1"), ("subscribe", "x"), ("publish", "x"))
    ]
    assert [(each.is_allowed, each.rule, each.why) for each in said] == [
        (False, 1, "rule 1, publish = subscribers"),
        (True, 0, "entry 1 of the claim caps"),
        (False, 0, "no rule matches"),
    ]


def test_an_unknown_action_is_a_mistake_of_the_behaviour() -> None:
    for each in (permissions([]), UNRESTRICTED):
        with pytest.raises(ValueError, match="'write' is no action; give one of subscribe, pub"):
            each.may("write", "a")


USERS = st.none() | st.text("ab.*?{}", min_size=1, max_size=3).map(User)
LEVELS = st.sampled_from(list(Level))


@examples(300)
@given(st.lists(st.tuples(GLOBS, LEVELS), max_size=4), NAMES, USERS, st.booleans(), st.booleans())
def test_as_a_simple_judge_has_it(
    given: list[tuple[str, Level]], channel: str, user: User | None, on_it: bool, named: bool
) -> None:
    rules = []
    for text, level in given:
        try:
            rules.append(ChannelRule(match=text, publish=level))
        except ValueError:
            continue
    claims = ChannelClaims.of({"channels": [channel]}) if named and user else NOTHING
    ruling = ChannelRules(rules).ruling(
        Action.PUBLISH, channel, user, claims, (channel,) if on_it else ()
    )
    if not rules:
        assert ruling.is_allowed
        return
    id_ = user.id if user else ""
    numbers = [at for at, each in enumerate(rules, 1) if simply(each.match, channel, id_)]
    assert ruling.rule == (numbers[0] if numbers else 0)
    level = rules[numbers[0] - 1].publish if numbers else Level.NOBODY
    assert (
        ruling.is_allowed
        is {
            Level.NOBODY: False,
            Level.TOKEN: named and user is not None,
            Level.USERS: user is not None,
            Level.SUBSCRIBERS: user is not None and on_it,
            Level.ANYONE: True,
        }[level]
    )


@pytest.mark.parametrize("rules", [[], [{"match": "*", "publish": "anyone"}]])
@pytest.mark.parametrize("name", ["x" * 256, "\u20ac" * 86, "\0tom"])
def test_a_name_that_no_channel_has_is_denied_and_not_remembered(
    rules: list[dict[str, Any]], name: str
) -> None:
    compiled = ChannelRules(parse_rules(rules))
    asked = Permissions(compiled, TOM)
    assert asked.may("publish", "x" * 255)
    before = compiled.find.cache_info()
    # A behaviour asks about what its client sends, and that may have megabytes.
    assert not asked.may("publish", name)
    assert compiled.find.cache_info() == before
