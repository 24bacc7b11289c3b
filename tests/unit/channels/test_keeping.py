"""keeping.py: what is kept of each channel, and histories that go by it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.channels.history import History, history_of
from wsservice.channels.keeping import Keeps
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.config.config import Config
from wsservice.config.keep import Keep
from wsservice.errors import ConfigError

RULES = [
    {"match": "room.secret", "keep": 0},
    {"match": "room.*", "keep": "3,10"},
    {"match": "user.{user}", "keep": "2,0"},
    {"match": "as.usual", "subscribe": "users"},
    {"match": "as.*", "keep": "9,9"},
]


def config(rules: Any = RULES, **settings: Any) -> Config:
    return Config(channels=rules, **settings)


@pytest.mark.parametrize(
    ("channel", "keep"),
    [
        ("room.secret", (0, 0)),
        ("room.1", (3, 10)),
        ("user.tom", (2, 0)),
        ("user.", (5, 300)),
        ("as.usual", (5, 300)),
        ("as.else", (9, 9)),
        ("other", (5, 300)),
    ],
)
def test_the_first_rule_that_matches_counts(channel: str, keep: tuple[int, float]) -> None:
    assert Keeps.of(config(history=5)).of_channel(channel) == keep


def test_rules_alone_make_a_history_and_may_unmake_one() -> None:
    assert history_of(config()) is not None
    assert history_of(config([{"match": "*"}])) is None
    assert Keeps.of(config([{"match": "*", "keep": 0}], history=5)).any  # none matches an absence
    assert history_of(config([{"match": "a", "keep": 0}])) is None


def filled(history: History, channel: str, count: int, now: float = 0.0) -> list[ChannelMessage]:
    return [history.append(ChannelMessage(channel, b"%d" % n), now) for n in range(count)]


def kept(history: History, channel: str, epoch: str, now: float, since: int = 0) -> list[bytes]:
    missed = history.since(channel, Position(since, epoch), now)
    return [each.payload for each in missed.entries]


def made(**settings: Any) -> History:
    history = history_of(config(**settings))
    assert history is not None
    return history


def test_each_channel_keeps_its_own_number_for_its_own_time() -> None:
    history = made(history=5)
    room, tom, other = (filled(history, each, 7) for each in ("room.1", "user.tom", "other"))
    assert kept(history, "room.1", room[0].epoch, 9, 4) == [b"4", b"5", b"6"]
    assert kept(history, "user.tom", tom[0].epoch, 1e9, 5) == [b"5", b"6"]
    assert kept(history, "other", other[0].epoch, 299, 2) == [b"2", b"3", b"4", b"5", b"6"]
    assert history.since("room.1", Position(4, room[0].epoch), 10).gap
    assert history.since("other", Position(2, other[0].epoch), 300).gap


def test_of_a_channel_that_keeps_nothing_no_message_has_a_position() -> None:
    history = made()
    sent = filled(history, "room.secret", 3)
    assert [each.position for each in sent] == [None] * 3
    assert (len(history), history.octets, history.messages) == (0, 0, 0)


def test_old_channels_of_each_age_are_forgotten() -> None:
    history = made(history="5,100")
    for number in range(20):
        filled(history, f"user.{number}", 1)  # for ever
        filled(history, f"room.{number}", 1)  # 10 s
        filled(history, f"other.{number}", 1)  # 100 s
    for _ in range(10):
        filled(history, "room.x", 1, 50)
    assert len(history) == 20 + 20 + 1
    for _ in range(10):
        filled(history, "other.x", 1, 200)
    assert len(history) == 20 + 1 + 1


def test_other_rules_reach_what_is_published_from_then_on() -> None:
    history = made(history=5)
    before = filled(history, "room.1", 3)
    history.keeping.prepare(config([{"match": "room.*", "keep": "1,5"}], history=5))()
    after = history.append(ChannelMessage("room.1", b"x"), 1)
    assert (after.epoch, after.offset) == (before[0].epoch, 4)
    assert kept(history, "room.1", after.epoch, 1, 3) == [b"x"]
    assert history.since("room.1", Position(3, after.epoch), 6).gap
    history.keeping.prepare(config([{"match": "room.*", "keep": 0}], history=5))()
    assert history.append(ChannelMessage("room.1", b"y"), 2).position is None
    history.keeping.prepare(config([], history=5))()
    again = history.append(ChannelMessage("room.1", b"z"), 3)
    # What came between is lost, and a client that comes back is told so.
    assert again.offset == 1
    assert again.epoch != after.epoch
    assert history.since("room.1", Position(4, after.epoch), 3).gap


@pytest.mark.parametrize(
    ("old", "new", "verb"),
    [({}, {"history": 5}, "begin"), ({"history": 5}, {}, "end")],
)
def test_a_reload_neither_begins_nor_ends_a_history(old: Any, new: Any, verb: str) -> None:
    keeps = Keeps.of(Config(**old))
    with pytest.raises(ConfigError, match=f"--channels: keep: a history would {verb}, which"):
        keeps.prepare(Config(**new))
    assert keeps.of_channel("a") == Keeps.of(Config(**old)).of_channel("a")


@given(
    st.lists(
        st.tuples(
            st.sampled_from("op"),
            st.sampled_from(["room.1", "room.2", "user.a", "as.x", "other", "room.secret"]),
            st.floats(0, 5),
        ),
        max_size=60,
    )
)
def test_bounds_hold_and_figures_add_up(steps: list[tuple[str, str, float]]) -> None:
    history = made(history="4,7")
    now = 0.0
    for what, channel, seconds in steps:
        now += seconds
        if what == "o":
            rules = RULES if channel < "r" else RULES[:2]
            history.keeping.prepare(config(rules, history="4,7"))()
        keep: Keep = history.keeping.of_channel(channel)
        message = history.append(ChannelMessage(channel, b"x"), now)
        assert (message.position is None) is (keep.size == 0)
        latest = history.latest(channel, 100, now)
        assert len(latest.entries) <= keep.size
    entries = [each.entries for each in history._channels.values()]
    assert history.messages == sum(map(len, entries))
    assert history.octets == sum(each.octets for each in history._channels.values())
    assert {name for each in history._lasting.values() for name in each} <= set(history._channels)
