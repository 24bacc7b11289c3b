"""rules.py: what `[[channels]]` may say, and what is said of mistakes."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.config.config import Config
from wsservice.config.rules import LONGEST_MATCH, MOST_RULES, ChannelRule, Level, parse_rules
from wsservice.config.sources import Settings, from_environment, from_file
from wsservice.errors import ConfigError

A_MATCH = (
    "give a glob of at most 255 printable characters, without slashes at its ends, and with braces"
    " in {user} only"
)
FOUR = "nobody, token, users or anyone"
FIVE = "nobody, token, users, subscribers or anyone"
KEYS = "match, subscribe, publish, history, presence, keep, join_leave"
A_KEEP = "give COUNT or COUNT,SECONDS, such as 100 or 100,1h: up to 1000000 messages and 86400"


def rules(text: str) -> tuple[ChannelRule, ...]:
    return Settings.merged(from_file(text.encode(), "ws.toml")).config.channels


def test_the_rule_of_the_manual() -> None:
    (rule,) = rules(
        """
        [[channels]]
        match = "room.*"
        subscribe = "users"
        publish = "subscribers"
        history = "subscribers"
        presence = "subscribers"
        keep = "100,300"
        join_leave = true
        """
    )
    subscribers = Level.SUBSCRIBERS
    assert rule == ChannelRule(
        match="room.*",
        subscribe=Level.USERS,
        publish=subscribers,
        history=subscribers,
        presence=subscribers,
        keep="100,300",
        join_leave=True,
    )


def test_a_key_that_a_rule_lacks_is_nobody() -> None:
    (rule,) = rules('[[channels]]\nmatch = ""')
    assert {rule.subscribe, rule.publish, rule.history, rule.presence} == {Level.NOBODY}
    assert (rule.keep, rule.join_leave) == (None, False)
    assert list(rule.shown()) == [("match", "")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("subscribe = 'users'", 'match: is missing; give a glob such as "room.*"'),
        ("match = 1", f"match: 1 is not allowed; {A_MATCH}"),
        ("match = '/room'", f"match: '/room' is not allowed; {A_MATCH}"),
        ("match = 'room/'", f"match: 'room/' is not allowed; {A_MATCH}"),
        ("match = 'user.{id}'", f"match: 'user.{{id}}' is not allowed; {A_MATCH}"),
        ("match = 'user.{user'", f"match: 'user.{{user' is not allowed; {A_MATCH}"),
        ("match = 'a\\u202e'".replace("'", '"'), rf"match: 'a\u202e' is not allowed; {A_MATCH}"),
        ("match = ''\nsubscribe = 'all'", f"subscribe: 'all' is not allowed; give {FOUR}"),
        ("match = ''\nsubscribe = true", f"subscribe: True is not allowed; give {FOUR}"),
        (
            "match = ''\nsubscribe = 'subscribers'",
            f"subscribe: 'subscribers' is not allowed; give {FOUR}",
        ),
        ("match = ''\npublish = 'Users'", f"publish: 'Users' is not allowed; give {FIVE}"),
        ("match = ''\nhistory = ''", f"history: '' is not allowed; give {FIVE}"),
        ("match = ''\npresence = ['users']", f"presence: ['users'] is not allowed; give {FIVE}"),
        ("match = ''\nkeep = -1", f"keep: -1 is not allowed; {A_KEEP} seconds"),
        ("match = ''\nkeep = true", f"keep: True is not allowed; {A_KEEP} seconds"),
        ("match = ''\nkeep = '5,2d'", f"keep: '5,2d' is not allowed; {A_KEEP} seconds"),
        ("match = ''\njoin_leave = 1", "join_leave: 1 is not allowed; give true or false"),
        ("match = ''\nsubscibe = 'users'", "'subscibe': unknown key; did you mean subscribe?"),
        (
            'match = ""\n"\\u001b" = 1',
            rf"'\x1b': unknown key; give some of {KEYS}",
        ),
    ],
)
def test_a_mistake_is_said_in_a_line_with_file_rule_and_key(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f"[[channels]]\nmatch = 'a'\n[[channels]]\n{text}")
    assert str(caught.value) == f"ws.toml: channels: rule 2: {said}"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["1", "{}", '["a"]', "[[]]"])
def test_anything_but_tables_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^ws.toml: channels: .*; give tables, each under "):
        rules(f"channels = {value}")


def test_rules_are_bounded() -> None:
    assert len(parse_rules([{"match": "a"}] * MOST_RULES)) == MOST_RULES
    with pytest.raises(ConfigError, match="--channels: 1001 rules are not allowed; give at most"):
        Config(channels=[{"match": "a"}] * (MOST_RULES + 1))  # type: ignore[arg-type]
    assert parse_rules([{"match": "a" * LONGEST_MATCH}])
    with pytest.raises(ConfigError, match="of at most 255 printable characters"):
        parse_rules([{"match": "a" * (LONGEST_MATCH + 1)}])


def test_no_variable_gives_rules() -> None:
    with pytest.raises(ConfigError, match=r"^WSSERVICE_CHANNELS: is not allowed; give tables in"):
        from_environment({"WSSERVICE_CHANNELS": "x"})


@given(
    st.lists(
        st.fixed_dictionaries(
            {"match": st.text("ab.*?/", max_size=5)},
            optional={
                "subscribe": st.sampled_from(FOUR.replace(" or", ",").split(", ")),
                "publish": st.sampled_from(list(Level)),
                "keep": st.integers(0, 5),
                "join_leave": st.booleans(),
            },
        ),
        max_size=3,
    )
)
def test_rules_go_to_a_worker_and_come_back(given: list[dict[str, object]]) -> None:
    try:
        config = Config(channels=given)  # type: ignore[arg-type]
    except ConfigError:
        return
    # As `Start` and `PrepareConfig` carry a configuration.
    carried = json.loads(json.dumps(attrs.asdict(config, recurse=True)))
    assert Config(**carried) == config
