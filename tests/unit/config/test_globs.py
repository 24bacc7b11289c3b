"""globs.py: as a simple matcher has it, and never slow."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.config.globs import USER, Glob, for_any_user

from ...examples import examples

# Few letters, so that much matches, and those that mean something to globs and to patterns.
LETTERS = "ab.*?/{}[\\"
GLOBS = st.lists(st.sampled_from([*"ab.*?/[\\", "*", USER, "{", "{user", "user}"]), max_size=8).map(
    "".join
)
NAMES = st.text(LETTERS, max_size=10)
USERS = st.text(LETTERS, max_size=3)


def simply(glob: str, name: str, user: str) -> bool:
    """Match as the meaning of a glob says, by trying all."""

    @cache
    def rest(glob: str, name: str) -> bool:
        if not glob:
            return not name
        if glob.startswith(USER):
            after = glob.removeprefix(USER)
            return user != "" and name.startswith(user) and rest(after, name[len(user) :])
        if glob[0] == "*":
            return rest(glob[1:], name) or (name != "" and rest(glob, name[1:]))
        return name != "" and glob[0] in ("?", name[0]) and rest(glob[1:], name[1:])

    return rest(glob, name)


@examples(500)
@given(GLOBS, NAMES, USERS)
def test_it_matches_as_a_simple_matcher_does(glob: str, name: str, user: str) -> None:
    assert Glob.of(glob).matches(name, user) == simply(glob, name, user)


@examples(300)
@given(GLOBS, st.lists(NAMES, max_size=4), USERS)
def test_what_is_made_of_a_glob_matches_it(glob: str, fillings: list[str], user: str) -> None:
    # Most random names match no glob, so these are made to.
    name = glob.replace(USER, user)
    for filling in fillings:
        name = name.replace("*", filling.replace("*", "").replace("?", ""), 1)
    name = name.replace("*", "").replace("?", "b")
    if user and not {"*", "?"} & set(user):
        assert Glob.of(glob).matches(name, user)


@given(GLOBS, NAMES, USERS)
def test_a_glob_for_any_user_matches_what_it_matches_for_one(
    glob: str, name: str, user: str
) -> None:
    if Glob.of(glob).matches(name, user):
        assert for_any_user(glob).matches(name)


@pytest.mark.parametrize(
    ("glob", "name", "user", "does"),
    [
        ("room.*", "room.1", "", True),
        ("room.*", "room.", "", True),
        ("room.*", "room.1/2.3", "", True),
        ("room.*", "room", "", False),
        ("room.*", "Room.1", "", False),
        ("room.?", "room./", "", True),
        ("room.?", "room.", "", False),
        ("room.?", "room.12", "", False),
        ("?", "\N{GRINNING FACE}", "", True),
        ("*", "", "", True),
        ("", "", "", True),
        ("", "a", "", False),
        ("a*a", "a", "", False),
        ("*.log*", "x.log", "", True),
        ("user.{user}", "user.tom", "tom", True),
        ("user.{user}", "user.tom", "to", False),
        ("user.{user}", "user.", "", False),
        ("user.{user}", "user.{user}", "tom", False),
        ("user.{user}", "user.{user}", "{user}", True),
        ("user.{user}", "user.tom", "*", False),
        ("user.{user}", "user.*", "*", True),
        ("user.{user}", "user.t", "?", False),
        ("{user}.{user}", "tom.tom", "tom", True),
        ("{user}.{user}", "tom.ann", "tom", False),
        ("*{user}", "user.tom", "", False),
        # Not a class of characters, as in a shell.
        ("room.[ab]", "room.a", "", False),
        ("room.[ab]", "room.[ab]", "", True),
        # Look-alikes: a Cyrillic o, a composed letter and its parts.
        ("room.*", "r\N{CYRILLIC SMALL LETTER O}om.1", "", False),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}", "", False),
        ("user.{user}", "user.t\N{CYRILLIC SMALL LETTER O}m", "tom", False),
    ],
)
def test_cases(glob: str, name: str, user: str, does: bool) -> None:
    assert Glob.of(glob).matches(name, user) is does


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        # A matcher that goes back tries each way to share the letters among the stars: for the
        # first of these more than 10 to the 60.
        ("*a" * 60 + "b", "a" * 10_000),
        ("a*" * 60 + "b*c", "a" * 10_000 + "b"),
        ("*" * 200 + "b", "a" * 10_000),
        ("*?" * 100 + "b", "a" * 10_000),
        ("*a?a" * 50 + "*b", "a" * 10_000),
        ("*" + "a" * 120 + "b*" + "a" * 120 + "b*", "a" * 10_000),
        ("*{user}" * 30, "a" * 10_000),
    ],
)
def test_no_name_and_no_glob_makes_it_slow(glob: str, name: str) -> None:
    # To finish at all is the proof.
    assert not Glob.of(glob).matches(name, "ab")
    assert not Glob.of(glob).matches(name[:255], "ab")


def test_a_glob_shows_its_text_only() -> None:
    assert repr(Glob.of("a*")) == "Glob(text='a*')"
    assert Glob.of("a*") == Glob.of("a*")
    assert Glob.of("{user}").has_user
    assert not Glob.of("{users}").has_user
