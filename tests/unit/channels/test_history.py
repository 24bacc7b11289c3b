from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.channels.history import (
    CHANNEL_OVERHEAD,
    ENTRY_OVERHEAD,
    PAGE,
    History,
    Missed,
    history_of,
)
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position, asked_for
from wsservice.config.config import Config

from ...examples import examples

AMPLE = 10_000_000


def history(size: int = 10, seconds: float = 0, octets: int = AMPLE, **how: Any) -> History:
    return History(size, seconds, octets, **how)


def filled(kept: History, channel: str, *payloads: bytes, now: float = 0) -> list[ChannelMessage]:
    messages = [ChannelMessage(channel, each, False, 1_800_000_000) for each in payloads]
    return [kept.append(each, now) for each in messages]


def payloads(missed: Missed) -> list[bytes]:
    return [each.payload for each in missed.entries]


class TestNumbers:
    def test_messages_of_a_channel_are_numbered_from_one_on(self) -> None:
        kept = history()
        first = kept.append(ChannelMessage("a", b"x", True, 1_800_000_000), 5)
        assert (first.channel, first.offset, first.time) == ("a", 1, 1_800_000_000)
        assert (first.payload, first.is_binary) == (b"x", True)
        assert kept.append(ChannelMessage("a", b"", False, 1_800_000_000), 6).offset == 2
        assert kept.append(ChannelMessage("b", b"", False, 1_800_000_000), 6).offset == 1

    def test_a_channels_epoch_stays(self) -> None:
        kept = history()
        first, second = filled(kept, "a", b"1", b"2")
        assert first.epoch == second.epoch == kept.position("a").epoch
        assert kept.append(ChannelMessage("b", b"", False, 1_800_000_000), 0).epoch != first.epoch

    def test_another_service_has_another_epoch_of_letters_that_a_query_may_have(self) -> None:
        one, other = (filled(history(), "a", b"1")[0].epoch for _ in range(2))
        assert one != other
        assert asked_for(f"since=1&epoch={one}", "a", True).since == {"a": Position(1, one)}


class TestMissed:
    def test_the_frames_of_a_message_are_made_once_for_all_who_share_the_answer(self) -> None:
        kept = history()
        first, last = filled(kept, "a", b"1", b"2")
        missed = kept.since("a", Position(0, first.epoch), 0)
        assert missed.frames(1) is missed.frames(1)
        assert [missed.frames(index).message for index in (0, 1)] == [first, last]
        again = kept.since("a", Position(0, first.epoch), 0)
        assert again == missed
        assert again.frames(1) is not missed.frames(1)

    def test_a_part_of_it_ends_where_its_last_message_is(self) -> None:
        kept = history()
        epoch = filled(kept, "a", b"1", b"2", b"3")[0].epoch
        missed = kept.since("a", Position(1, epoch), 0)
        part = missed.first(1)
        assert payloads(part) == [b"2"]
        assert part.position == Position(2, epoch)
        assert missed.first(2) == missed


class TestComingBack:
    def test_who_comes_back_gets_what_came_after_in_order(self) -> None:
        kept = history()
        first, *_, last = filled(kept, "a", b"1", b"2", b"3")
        missed = kept.since("a", Position(1, first.epoch), 0)
        assert payloads(missed) == [b"2", b"3"]
        assert missed.position == Position(3, last.epoch)
        assert not missed.gap
        assert kept.since("a", missed.position, 0) == Missed((), missed.position)

    def test_since_means_after_and_the_beginning_is_zero(self) -> None:
        kept = history()
        (first,) = filled(kept, "a", b"1")
        assert payloads(kept.since("a", Position(0, first.epoch), 0)) == [b"1"]

    def test_who_missed_much_gets_it_in_pages(self) -> None:
        kept = history(1000)
        entries = filled(kept, "a", *(str(number).encode() for number in range(PAGE + 1)))
        page = kept.since("a", Position(0, entries[0].epoch), 0)
        assert page.entries == entries[:PAGE]
        assert kept.since("a", page.position, 0).entries == entries[PAGE:]

    @pytest.mark.parametrize("epoch", ["", "x", "x.1", "{}.", "{}.x", "{}.1.1", "{}.²"])
    def test_another_epoch_is_a_gap(self, epoch: str) -> None:
        kept = history()
        (first,) = filled(kept, "a", b"1")
        own = first.epoch.rpartition(".")[0]
        missed = kept.since("a", Position(1, epoch.format(own)), 0)
        assert missed == Missed((), Position(1, first.epoch), gap=True)

    def test_an_offset_that_was_never_given_is_a_gap(self) -> None:
        kept = history()
        (first,) = filled(kept, "a", b"1")
        assert kept.since("a", Position(2, first.epoch), 0).gap

    def test_who_was_there_before_the_first_message_missed_it(self) -> None:
        kept = history()
        filled(kept, "b", b"of another")
        before = kept.position("a")
        assert kept.since("a", before, 0) == Missed((), before)
        filled(kept, "a", b"1")
        filled(kept, "c", b"of another")
        assert payloads(kept.since("a", before, 0)) == [b"1"]

    def test_an_epoch_of_another_channel_is_a_gap(self) -> None:
        kept = history()
        (a,), (b,) = filled(kept, "a", b"1"), filled(kept, "b", b"1")
        assert kept.since("a", Position(1, b.epoch), 0).gap
        assert kept.since("a", Position(0, b.epoch), 0).gap
        assert kept.since("b", Position(1, a.epoch), 0).gap
        assert kept.since("c", Position(1, a.epoch), 0).gap


class TestBounds:
    def test_of_a_channel_the_last_ones_are_kept(self) -> None:
        kept = history(2)
        epoch = filled(kept, "a", b"1", b"2", b"3")[0].epoch
        assert payloads(kept.since("a", Position(1, epoch), 0)) == [b"2", b"3"]
        assert kept.since("a", Position(0, epoch), 0).gap

    def test_what_is_too_old_is_gone_and_its_number_known(self) -> None:
        kept = history(seconds=10)
        epoch = filled(kept, "a", b"1", now=0)[0].epoch
        filled(kept, "a", b"2", now=5)
        assert payloads(kept.since("a", Position(0, epoch), 9.9)) == [b"1", b"2"]
        assert kept.since("a", Position(0, epoch), 10).gap
        assert payloads(kept.since("a", Position(1, epoch), 10)) == [b"2"]
        assert kept.since("a", Position(1, epoch), 15).gap
        assert not kept.since("a", Position(2, epoch), 15).gap

    def test_a_channel_with_nothing_left_and_nobody_there_is_forgotten(self) -> None:
        kept = history(seconds=10)
        epoch = filled(kept, "a", b"1")[0].epoch
        filled(kept, "b", b"1", now=10)
        assert len(kept) == 1
        assert kept.octets == len(b"b" + b"1") + CHANNEL_OVERHEAD + ENTRY_OVERHEAD
        # Whether something was published meanwhile, nobody knows.
        missed = kept.since("a", Position(1, epoch), 10)
        assert missed.gap
        assert kept.since("a", missed.position, 10) == Missed((), missed.position)

    def test_one_where_somebody_is_keeps_its_number(self) -> None:
        kept = history(seconds=10)
        kept.occupied = lambda channel: channel == "a"
        epoch = filled(kept, "a", b"1")[0].epoch
        for now in (10, 30):
            filled(kept, "b", b"1", now=now)
        assert len(kept) == 2
        assert not kept.since("a", Position(1, epoch), 30).gap
        assert filled(kept, "a", b"2", now=31)[0].offset == 2

    def test_who_was_there_before_a_channel_that_began_and_was_forgotten_is_told(self) -> None:
        kept = history(seconds=10)
        before = kept.position("a")
        filled(kept, "a", b"1")
        after = kept.position("c")
        filled(kept, "b", b"1", now=10)
        assert kept.since("a", before, 10).gap
        # This one it cannot have been: it had its number before.
        assert not kept.since("c", after, 10).gap

    def test_of_too_many_channels_the_one_published_on_longest_ago_is_forgotten(self) -> None:
        kept = history(most_channels=2)
        a = filled(kept, "a", b"1")[0].epoch
        b = filled(kept, "b", b"1")[0].epoch
        filled(kept, "a", b"2")
        filled(kept, "c", b"1")
        assert len(kept) == 2
        assert payloads(kept.since("a", Position(0, a), 0)) == [b"1", b"2"]
        assert kept.since("b", Position(0, b), 0).gap

    def test_of_too_many_octets_the_oldest_of_who_has_most_goes(self) -> None:
        kept = history(1000, octets=4 * (CHANNEL_OVERHEAD + ENTRY_OVERHEAD))
        quiet = filled(kept, "quiet", b"1")[0].epoch
        loud = filled(kept, "loud", *[bytes(100)] * 100)
        assert kept.octets <= 4 * (CHANNEL_OVERHEAD + ENTRY_OVERHEAD)
        assert payloads(kept.since("quiet", Position(0, quiet), 0)) == [b"1"]
        assert kept.since("loud", Position(0, loud[0].epoch), 0).gap
        assert not kept.since("loud", Position(98, loud[0].epoch), 0).gap

    def test_a_message_too_large_to_keep_has_a_number_and_is_a_gap(self) -> None:
        kept = history(octets=20_000)
        epoch = filled(kept, "b", b"1")[0].epoch
        first, large = filled(kept, "a", b"1", bytes(20_000))
        assert not kept.keeps("a", Position(large.offset, large.epoch))
        assert kept.since("a", Position(1, first.epoch), 0).gap
        assert payloads(kept.since("b", Position(0, epoch), 0)) == [b"1"]
        filled(kept, "a", b"3")
        assert payloads(kept.since("a", Position(2, first.epoch), 0)) == [b"3"]

    def test_what_is_kept_is_known(self) -> None:
        kept = history(1)
        first, second = filled(kept, "a", b"1", b"2")
        assert not kept.keeps("a", Position(first.offset, first.epoch))
        assert kept.keeps("a", Position(second.offset, second.epoch))
        assert not kept.keeps("b", Position(second.offset, second.epoch))
        assert not kept.keeps("a", Position(second.offset, "x"))


def test_a_configuration_asks_for_one_or_none() -> None:
    assert history_of(Config()) is None
    kept = history_of(Config(history="2,10"))
    assert kept is not None
    epoch = filled(kept, "a", b"1", b"2", b"3")[0].epoch
    assert kept.since("a", Position(0, epoch), 0).gap
    assert not kept.since("a", Position(1, epoch), 9).gap
    assert kept.since("a", Position(1, epoch), 10).gap


# Against a model that keeps everything

CHANNELS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), CHANNELS, st.sampled_from([0, 1, 500, 3000, 30_000])),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from([1, 4, 10, 25])),
        st.tuples(st.just("join"), CHANNELS, st.just(0)),
        st.tuples(st.just("resume"), CHANNELS, st.integers(0, 3)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=80,
)


class Follower:
    """Somebody on a channel, who goes and comes back."""

    def __init__(self, channel: str, position: Position, known: int) -> None:
        self.channel = channel
        self.position = self.came_back_at = position
        #: How many of all the channel's messages came before, or were told to be gone.
        self.known = known


class Model:
    """A history, and all that was ever published."""

    def __init__(self, **bounds: Any) -> None:
        self.bounds = bounds
        self.now = 0.0
        self.published: dict[str, list[tuple[float, bytes]]] = {}
        self.followers: dict[str, list[Follower]] = {}
        self.restart("", 0)

    def restart(self, _: str, __: int) -> None:
        self.history = history(**self.bounds)
        self.history.occupied = lambda channel: channel in self.followers
        self.restarted = {name: len(those) for name, those in self.published.items()}
        self.begun = {id(each) for those in self.followers.values() for each in those}

    def append(self, channel: str, size: int) -> None:
        all_of_it = self.published.setdefault(channel, [])
        payload = f"{len(all_of_it)}:".encode() + bytes(size)
        self.history.append(ChannelMessage(channel, payload, False, 1_800_000_000), self.now)
        all_of_it.append((self.now, payload))

    def wait(self, _: str, seconds: int) -> None:
        self.now += seconds

    def join(self, channel: str, _: int) -> None:
        known = len(self.published.get(channel, ()))
        follower = Follower(channel, self.history.position(channel), known)
        self.followers.setdefault(channel, []).append(follower)

    def resume(self, channel: str, which: int) -> None:
        those = self.followers.get(channel, [])
        if not those:
            return
        follower = those[which % len(those)]
        follower.came_back_at = follower.position
        came: list[bytes] = []
        gap = False
        while True:
            missed = self.history.since(channel, follower.position, self.now)
            follower.position = missed.position
            if missed.gap:
                assert not gap, "a gap is told once"
                assert not came, "and before all else"
                gap = True
            elif not missed.entries:
                break
            came += payloads(missed)
        self.check(follower, came, gap)
        self.begun.discard(id(follower))
        follower.known = len(self.published.get(channel, ()))

    def check(self, follower: Follower, came: Sequence[bytes], gap: bool) -> None:
        gone = self.published.get(follower.channel, [])[follower.known :]
        if gap:
            assert came == [], "after a gap it goes on with what comes"
            assert self.may_be_gone(follower, gone)
        else:
            assert came == [payload for _, payload in gone], "neither hole nor repeat"
            assert not self.must_be_gone(follower, gone)

    def must_be_gone(self, follower: Follower, missed: list[tuple[float, bytes]]) -> bool:
        """Return True if some of the missed messages cannot be in the history."""
        too_old = self.bounds["seconds"]
        return (
            id(follower) in self.begun
            or len(missed) > self.bounds["size"]
            or any(too_old and moment + too_old <= self.now for moment, _ in missed)
        )

    def may_be_gone(self, follower: Follower, missed: list[tuple[float, bytes]]) -> bool:
        return True

    def run(self, steps: Sequence[tuple[str, str, int]]) -> None:
        for what, channel, number in steps:
            getattr(self, what)(channel, number)
            self.check_bounds()

    def check_bounds(self) -> None:
        kept = self.history
        assert kept.octets <= self.bounds["octets"]
        assert len(kept) <= self.bounds.get("most_channels", 4)
        assert kept.octets == sum(each.octets for each in kept._channels.values())
        for each in kept._channels.values():
            assert len(each.entries) <= self.bounds["size"]
            offsets = [entry.offset for _, entry in each.entries]
            assert offsets == list(range(each.last - len(offsets) + 1, each.last + 1))


class Ample(Model):
    """With room for all: a gap is exactly what is too old, or more than is kept.

    But who was on a channel before its first message is also told of one where a channel
    was forgotten meanwhile, which might have been that one.
    """

    def may_be_gone(self, follower: Follower, missed: list[tuple[float, bytes]]) -> bool:
        if self.must_be_gone(follower, missed):
            return True
        return not follower.came_back_at.offset and any(
            self.was_silent(channel) for channel in self.published if channel != follower.channel
        )

    def was_silent(self, channel: str) -> bool:
        """Return True if a channel was silent for longer than messages are kept."""
        too_old = self.bounds["seconds"]
        moments = [*(moment for moment, _ in self.published[channel]), self.now]
        return bool(too_old) and any(b - a >= too_old for a, b in pairwise(moments))


@examples(300)
@given(STEPS, st.sampled_from([1, 3, 100]), st.sampled_from([0, 5, 20]))
def test_with_room_for_all_a_gap_is_told_exactly_where_something_is_missing(
    steps: list[tuple[str, str, int]], size: int, seconds: int
) -> None:
    Ample(size=size, seconds=seconds, octets=AMPLE).run(steps)


@examples(300)
@given(
    STEPS,
    st.sampled_from([1, 3, 100]),
    st.sampled_from([0, 5, 20]),
    st.sampled_from([2000, 8000, 40_000]),
    st.sampled_from([1, 2, 4]),
)
def test_within_tight_bounds_nobody_has_a_hole_or_a_repeat_unknown_to_him(
    steps: list[tuple[str, str, int]], size: int, seconds: int, octets: int, channels: int
) -> None:
    Model(size=size, seconds=seconds, octets=octets, most_channels=channels).run(steps)


@pytest.mark.slow  # tracemalloc
@pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("count", [1, 20])
def test_what_it_takes_is_what_is_counted_whatever_channels_are_called(
    character: str, count: int
) -> None:
    history = History(count, 0, 10**9)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(500):
        for message in range(count):
            # As each message does that came by the bus, it brings a name of its own.
            name = f"{number}{character}".ljust(255 - len(character.encode()), "a")
            kept = ChannelMessage(name, b"%d" % message, False, 1.8e9 + message)
            history.append(kept, float(message))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used <= 1.1 * history.octets


class TestLatest:
    def test_of_an_unknown_channel_there_is_nothing_and_its_place(self) -> None:
        history = History(10, 0, 100_000)
        assert history.latest("a", 5, 0.0) == Missed((), history.position("a"))

    def test_the_last_ones_the_oldest_first_up_to_a_page(self) -> None:
        history = History(1000, 0, 10_000_000)
        for number in range(200):
            history.append(ChannelMessage("a", b"%d" % number), 0.0)
        missed = history.latest("a", 100, 0.0)
        assert [int(each.payload) for each in missed.entries] == list(range(100, 100 + PAGE))
        assert missed.position.offset == 100 + PAGE
        assert (missed.gap, missed.whole) == (False, False)
        rest = history.since("a", missed.position, 0.0)
        assert rest.entries[0].offset == missed.position.offset + 1
        assert len(history.latest("a", 3, 0.0).entries) == 3

    def test_what_is_too_old_is_not_among_them(self) -> None:
        history = History(10, 60, 100_000)
        history.append(ChannelMessage("a", b"old"), 0.0)
        history.append(ChannelMessage("a", b"new"), 50.0)
        assert [each.payload for each in history.latest("a", 5, 70.0).entries] == [b"new"]
        missed = history.latest("a", 5, 200.0)
        assert (missed.entries, missed.position) == ((), history.position("a"))

    def test_of_another_turn_they_are_not_whole_any_more(self) -> None:
        history = History(10, 0, 100_000)
        history.append(ChannelMessage("a", b"x"), 0.0)
        missed = attrs.evolve(history.latest("a", 5, 0.0), whole=True)
        frames = missed.frames(0)
        later = missed.later()
        assert not later.whole
        assert later.frames(0) is frames
        assert later.later() is later
