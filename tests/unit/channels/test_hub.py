from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from wsservice.auth.contract import User
from wsservice.channels.envelopes import SharedFrames
from wsservice.channels.history import History
from wsservice.channels.hub import LocalHub
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.query import Position
from wsservice.protocol.sending import PreparedMessage

_T = TypeVar("_T")


class Member:
    """A connection, as the hub sees it."""

    user: User | None = None

    def __init__(self, hub: LocalHub, channel: str = "a", takes: bool = True) -> None:
        self.channel = channel
        self.takes = takes
        self.more: tuple[str, ...] = ()
        self.sent: list[tuple[bytes, bool]] = []
        hub.arrive(self)

    @property
    def channels(self) -> tuple[str, ...]:
        return (self.channel, *self.more)

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
        self.sent.append((preparedMsg.payload, preparedMsg.isBinary))
        return self.takes

    def fall_behind(self, channel: str, since: Position) -> None:
        raise AssertionError("nothing is lost")

    def tell_gap(self, channel: str) -> None:
        raise AssertionError(channel)

    def go_away(self) -> None:
        raise AssertionError("nobody asked")


def now(answer: Deferred[_T]) -> _T:
    """The answer of a hub that asks no other process."""
    answers: list[_T] = []
    answer.addCallback(answers.append)
    return answers[0]


def joined(hub: LocalHub, channel: str = "a", takes: bool = True) -> Member:
    member = Member(hub, channel, takes)
    hub.join(member)
    return member


def test_a_connection_counts_from_arrival_until_it_leaves() -> None:
    hub = LocalHub()
    member = Member(hub)
    assert len(hub) == 1
    hub.join(member)
    assert list(hub) == [member]
    hub.leave(member)
    assert len(hub) == 0
    assert list(hub) == []


def test_leaving_twice_or_without_having_joined_does_no_harm() -> None:
    hub = LocalHub()
    stays = joined(hub)
    never_joined = Member(hub)
    hub.leave(never_joined)
    hub.leave(never_joined)
    assert list(hub) == [stays]
    assert hub.publish("a", b"x") == 1


def test_a_message_reaches_its_own_channel_only() -> None:
    hub = LocalHub()
    here, too, elsewhere = joined(hub), joined(hub), joined(hub, "b")
    assert hub.publish("a", b"x", True) == 2
    assert here.sent == too.sent == [(b"x", True)]
    assert elsewhere.sent == []


def test_a_channel_with_a_long_name_is_the_publishers_to_know() -> None:
    hub = LocalHub(history=History(10, 0, 10_000))
    for name in ("a" * 256, "\u00e9" * 128, "\ud800" * 86):
        with pytest.raises(ValueError, match="give one of at most 255"):
            hub.publish(name, b"x")
        with pytest.raises(ValueError, match="give one of at most 255"):
            hub.presence(name)
    assert hub.kept is not None
    assert len(hub.kept) == 0
    member = joined(hub, "\u00e9" * 127)
    assert hub.publish(member.channel, b"x") == 1


def test_a_message_does_not_reach_who_is_not_open_yet_or_no_more() -> None:
    hub = LocalHub()
    not_yet, gone = Member(hub), joined(hub)
    hub.leave(gone)
    assert hub.publish("a", b"x") == 0
    assert not_yet.sent == gone.sent == []


def test_only_those_that_took_a_message_are_counted() -> None:
    hub = LocalHub()
    joined(hub)
    closing = joined(hub, takes=False)
    assert hub.publish("a", b"x") == 1
    assert closing.sent == [(b"x", False)]


def test_whoever_delivers_is_told_what_became_of_it() -> None:
    hub = LocalHub(history=History(10, 0, 100_000), wall=lambda: 5.0)
    here, behind = joined(hub), Member(hub)
    hub.join(behind, behind=True)
    slow = iter([3, 5])
    hub.slow = lambda: next(slow)
    assert now(hub.deliver(ChannelMessage("a", b"x", True))) == Published(2, 2)
    assert here.sent == [(b"x", True)]
    start = Position(0, now(hub.position("a")).epoch)
    (kept,) = now(hub.missed("a", start)).entries
    assert (kept.payload, kept.is_binary, kept.time) == (b"x", True, 5.0)


def test_an_open_connection_counts_once_however_many_channels_it_is_on() -> None:
    hub = LocalHub()
    assert hub.sizes() == (0, 0, 0)
    Member(hub)  # which is not open
    member = Member(hub)
    member.more = ("b", "c")
    hub.join(member)
    joined(hub, "c")
    assert hub.sizes() == (2, 3, 2)


def test_a_channel_that_nobody_is_on_any_more_takes_no_memory() -> None:
    hub = LocalHub()
    for number in range(3):
        hub.leave(joined(hub, str(number)))
    assert hub._channels == {}


def test_a_member_leaves_the_channel_that_it_joined_whatever_it_calls_its_own_now() -> None:
    hub = LocalHub()
    member = joined(hub)
    member.channel = "b"
    hub.leave(member)
    assert hub.publish("a", b"x") == 0
    assert member.sent == []


def test_members_may_leave_while_they_are_walked_through() -> None:
    hub = LocalHub()
    members = [joined(hub) for _ in range(3)]
    for member in hub:
        hub.leave(member)
    assert len(members) == 3
    assert len(hub) == 0


def test_members_may_leave_while_a_message_is_sent() -> None:
    hub = LocalHub()

    class Leaving(Member):
        def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
            hub.leave(self)
            return super().sendPreparedMessage(preparedMsg)

    for _ in range(2):
        hub.join(Leaving(hub))
    assert hub.publish("a", b"x") == 2
    assert len(hub) == 0


def test_an_empty_hub_says_so_at_once() -> None:
    assert LocalHub().when_settled().called


def test_everybody_who_waits_is_told_when_the_last_one_left() -> None:
    hub = LocalHub()
    first, last = joined(hub), Member(hub)
    waiting = [hub.when_settled(), hub.when_settled()]
    hub.leave(first)
    assert [each.called for each in waiting] == [False, False]
    hub.leave(last)
    assert [each.result for each in waiting] == [None, None]


def test_one_who_has_settled_is_not_waited_for_but_is_still_there() -> None:
    hub = LocalHub()
    member = joined(hub)
    waiting = hub.when_settled()
    assert hub.unsettled == 1
    hub.settle(member)
    assert waiting.called
    assert (len(hub), hub.unsettled) == (1, 0)
    hub.leave(member)
    assert len(hub) == 0


def test_who_gave_up_waiting_is_not_told() -> None:
    hub = LocalHub()
    member = Member(hub)
    given_up, waiting = hub.when_settled(), hub.when_settled()
    failures: list[object] = []
    given_up.addErrback(lambda failure: failures.append(failure.check(CancelledError)))
    given_up.cancel()
    hub.leave(member)
    assert failures == [CancelledError]
    assert waiting.called


def test_a_failing_member_is_the_publishers_to_know() -> None:
    hub = LocalHub()

    class Failing(Member):
        def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
            raise RuntimeError

    hub.join(Failing(hub))
    with pytest.raises(RuntimeError):
        hub.publish("a", b"x")


class TestSeveralChannels:
    def test_a_member_gets_a_message_once_for_each_publish_to_each(self) -> None:
        hub = LocalHub()
        member = Member(hub)
        member.more = ("b", "c")
        hub.join(member)
        for channel in "abca":
            assert hub.publish(channel, channel.encode()) == 1
        assert [payload for payload, _ in member.sent] == [b"a", b"b", b"c", b"a"]

    def test_it_leaves_them_all(self) -> None:
        hub = LocalHub()
        member = Member(hub)
        member.more = ("b",)
        hub.join(member)
        stays = joined(hub, "b")
        hub.leave(member)
        assert [hub.is_occupied(channel) for channel in "ab"] == [False, True]
        assert hub.publish("b", b"x") == 1
        assert member.sent == []
        assert stays.sent == [(b"x", False)]


class TestHistory:
    def kept(self) -> LocalHub:
        return LocalHub(history=History(10, 0, 100_000), wall=lambda: 5.0)

    def test_what_is_published_has_its_place_in_it(self) -> None:
        hub = self.kept()
        seen: list[PreparedMessage] = []

        class Seeing(Member):
            def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
                seen.append(preparedMsg)
                return True

        hub.join(Seeing(hub))
        before = now(hub.position("a"))
        hub.publish("a", b"x", True)
        (frames,) = seen
        assert isinstance(frames, SharedFrames)
        message = frames.message
        assert (message.channel, message.time) == ("a", 5.0)
        assert message.position == now(hub.position("a")) != before
        (entry,) = now(hub.missed("a", before)).entries
        assert (entry.payload, entry.is_binary, entry.time) == (b"x", True, 5.0)

    def test_what_is_no_payload_takes_no_place(self) -> None:
        hub = self.kept()
        with pytest.raises(TypeError):
            hub.publish("a", "x")  # type: ignore[arg-type]
        assert now(hub.position("a")) == Position(0, now(hub.position("b")).epoch)

    def test_who_is_behind_is_counted_and_gets_nothing_until_it_caught_up(self) -> None:
        hub = self.kept()
        member = Member(hub)
        member.more = ("b",)
        hub.join(member, behind=True)
        assert hub.publish("a", b"1") == 1
        assert hub.publish("b", b"1") == 1
        assert hub.publish("c", b"1") == 0
        hub.catch_up(member, "a")
        assert hub.publish("a", b"2") == 1
        assert hub.publish("b", b"2") == 1
        assert member.sent == [(b"2", False)]
        hub.leave(member)
        assert not hub.is_occupied("a")
        assert not hub.is_occupied("b")

    def test_who_left_catches_up_with_nothing(self) -> None:
        hub = self.kept()
        member = Member(hub)
        hub.join(member, behind=True)
        hub.leave(member)
        hub.catch_up(member, "a")
        assert hub.publish("a", b"1") == 0

    def test_who_is_behind_keeps_a_channel_from_being_forgotten(self) -> None:
        clock = Clock()
        history = History(10, 10, 100_000)
        hub = LocalHub(clock.seconds, history=history)
        hub.join(Member(hub), behind=True)
        hub.publish("a", b"1")
        clock.advance(20)
        hub.publish("b", b"1")
        assert len(history) == 2
        clock.advance(20)
        hub.publish("c", b"1")
        assert len(history) == 2

    def test_the_age_of_what_is_kept_is_not_told_by_the_wall_clock(self) -> None:
        clock, wall = Clock(), Clock()
        wall.advance(1_800_000_000)
        hub = LocalHub(clock.seconds, history=History(10, 10, 100_000), wall=wall.seconds)
        start = now(hub.position("a"))
        hub.publish("a", b"1")
        wall.advance(3600)
        assert len(now(hub.missed("a", start)).entries) == 1
        wall.rightNow -= 2 * 3600
        clock.advance(10)
        assert now(hub.missed("a", start)).gap

    def test_where_none_is_kept_nothing_has_a_place(self) -> None:
        hub = LocalHub()
        with pytest.raises(RuntimeError, match="no history is kept"):
            hub.position("a")
        with pytest.raises(RuntimeError, match="no history is kept"):
            hub.missed("a", Position(0, ""))


def test_who_is_behind_is_on_its_channels_too() -> None:
    hub = LocalHub(history=History(10, 10, 100_000))
    here, behind = joined(hub), Member(hub)
    hub.join(behind, behind=True)
    assert hub.channels() == ["a"]
    assert hub.sizes() == (2, 1, 2)
    assert hub.local_members("a") == (here, behind)
    hub.catch_up(behind, "a")
    assert hub.local_members("a") == (here, behind)


@given(
    st.lists(st.tuples(st.sampled_from(["join", "behind", "catch up", "leave"]), st.integers(0, 5)))
)
def test_sizes_are_those_that_there_are_after_any_changes(changes: list[tuple[str, int]]) -> None:
    hub = LocalHub()
    there: dict[int, Member] = {}
    for what, number in changes:
        if what == "leave":
            if number in there:
                hub.leave(there.pop(number))
        elif what == "catch up":
            if number in there:
                hub.catch_up(there[number], "b")
        elif number not in there:
            there[number] = Member(hub)
            there[number].more = ("b", "c")[: number % 3]
            there[number].channel = f"{number // 2}"
            hub.join(there[number], behind=what == "behind")
    counts = {name: hub.local_count(name) for name in hub.channels()}
    assert hub.sizes() == (len(there), len(counts), max(counts.values(), default=0))
    on_each = Counter(name for member in there.values() for name in member.channels)
    assert counts == on_each
