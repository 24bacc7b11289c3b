from __future__ import annotations

from wsservice.auth.contract import User
from wsservice.channels.following import FollowingHub
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.protocol.sending import PreparedMessage

E, F = "e.1", "e.3"


class Following(FollowingHub):
    """A hub that keeps note of the channels that have somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def _came_to(self, channel: str) -> None:
        self.noted.append(f"+{channel}")

    def _left(self, channel: str) -> None:
        self.noted.append(f"-{channel}")


class Member:
    """A connection, as the hub sees it."""

    user: User | None = None

    def __init__(self, hub: FollowingHub, *channels: str, behind: bool = False) -> None:
        self.channel = channels[0]
        self.channels = channels
        self.takes = True
        self.got: list[bytes] = []
        self.fell: list[tuple[str, Position]] = []
        hub.arrive(self)
        hub.join(self, behind)

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> bool:
        self.got.append(preparedMsg.payload)
        return self.takes

    def fall_behind(self, channel: str, since: Position) -> None:
        self.fell.append((channel, since))

    def tell_gap(self, channel: str) -> None:
        raise AssertionError(channel)

    def go_away(self) -> None:
        raise AssertionError("nobody asked")


def said(offset: int, epoch: str = E, channel: str = "a") -> ChannelMessage:
    """The message at a position; its payload is its offset."""
    return ChannelMessage(channel, str(offset).encode(), False, 5.0, offset, epoch)


def test_it_has_a_history_though_none_is_here() -> None:
    hub = FollowingHub()
    assert hub.has_history
    assert hub.kept is None


def test_what_comes_in_order_is_handed_out() -> None:
    hub = FollowingHub()
    member = Member(hub, "a")
    assert [hub.hear(said(offset), True) for offset in (4, 5, 6)] == [(1, 0)] * 3
    member.takes = False
    assert hub.hear(said(7), True) == (0, 1)
    assert hub.hear(said(1, channel="b"), True) == (0, 0)
    assert member.got == [b"4", b"5", b"6", b"7"]
    assert member.fell == []


def test_after_a_jump_all_who_are_there_fetch_what_is_missing() -> None:
    hub = FollowingHub()
    first, second, other = Member(hub, "a"), Member(hub, "a"), Member(hub, "b")
    hub.hear(said(1), True)
    assert hub.hear(said(3), True) == (2, 0)
    assert first.fell == second.fell == [("a", Position(1, E))]
    assert first.got == second.got == [b"1"]
    assert hub.local_members("a") == (first, second)
    assert other.fell == []


def test_what_comes_meanwhile_they_fetch_too() -> None:
    hub = FollowingHub()
    member = Member(hub, "a")
    hub.hear(said(1), True)
    hub.hear(said(3), True)
    comes = Member(hub, "a")
    assert hub.hear(said(4), True) == (2, 0)
    assert hub.hear(said(5), kept=False) == (1, 0)
    assert (member.got, comes.got) == ([b"1"], [b"4", b"5"])
    hub.catch_up(member, "a", Position(5, E))
    assert hub.hear(said(6), True) == (2, 0)
    assert (member.got, comes.got) == ([b"1", b"6"], [b"4", b"5", b"6"])
    assert member.fell == [("a", Position(1, E))]
    assert comes.fell == []


def test_from_where_one_has_caught_up_a_jump_shows() -> None:
    hub = FollowingHub()
    member = Member(hub, "a", behind=True)
    assert hub.hear(said(1), True) == (1, 0)
    hub.catch_up(member, "a", Position(1, E))
    hub.hear(said(3), True)
    assert member.fell == [("a", Position(1, E))]
    assert member.got == []


def test_another_epoch_follows_if_it_begins() -> None:
    hub = FollowingHub()
    member = Member(hub, "a")
    hub.hear(said(7), True)
    hub.hear(said(1, F), True)
    assert member.got == [b"7", b"1"]
    hub.hear(said(2, E), True)
    assert member.fell == [("a", Position(1, F))]


def test_that_some_was_lost_may_be_said() -> None:
    hub = FollowingHub()
    member = Member(hub, "a")
    assert not hub.lost_some("a")
    assert not hub.lost_some("b")
    hub.hear(said(1), True)
    assert hub.lost_some("a")
    assert member.fell == [("a", Position(1, E))]
    assert not hub.lost_some("a")


def test_where_nothing_came_yet_it_may_be_learned() -> None:
    hub = FollowingHub()
    member = Member(hub, "a")
    hub.learned("a", Position(3, E))
    hub.learned("b", Position(1, E))
    hub.hear(said(5), True)
    assert member.fell == [("a", Position(3, E))]
    assert hub._places == {}


def test_who_is_elsewhere_than_the_channel_has_lost_some() -> None:
    hub = FollowingHub()
    member, other = Member(hub, "a"), Member(hub, "a", behind=True)
    hub.hear(said(2), True)
    hub.learned("a", Position(2, E))
    assert member.fell == []
    hub.catch_up(other, "a", Position(3, E))
    assert member.fell == [("a", Position(2, E))]
    hub.hear(said(4), True)
    assert (member.got, other.got) == ([b"2"], [b"4"])


def test_with_the_last_who_is_not_behind_its_place_is_forgotten() -> None:
    hub = FollowingHub()
    here, behind = Member(hub, "a"), Member(hub, "a", behind=True)
    hub.hear(said(1), True)
    hub.leave(here)
    assert hub._places == {}
    hub.catch_up(behind, "a")
    hub.hear(said(9), True)
    assert behind.got == [b"9"]
    hub.leave(behind)
    assert hub._places == {}
    assert hub._channels == hub._behind == {}


def test_who_is_the_first_and_the_last_on_a_channel_is_noted() -> None:
    hub = Following()
    first = Member(hub, "a", "b")
    second = Member(hub, "a", behind=True)
    assert hub.noted == ["+a", "+b"]
    hub.leave(first)
    hub.leave(first)
    assert hub.noted == ["+a", "+b", "-b"]
    hub.leave(second)
    assert hub.noted == ["+a", "+b", "-b", "-a"]
