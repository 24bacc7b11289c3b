"""The users of connections: messages to them, and their number over several processes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.contract import User
from wsservice.channels.hub import LocalHub
from wsservice.channels.outcome import Published
from wsservice.channels.query import channel_of
from wsservice.channels.users import (
    MOST_MARKS,
    UserIndex,
    message_to,
    together,
    told,
    user_of,
    way_to,
)
from wsservice.protocol.sending import SENT, PreparedMessage, Sent


class Member:
    def __init__(self: Any, hub: LocalHub, user: str | None = "tom", *channels: str) -> None:
        self.channels = channels or ("a",)
        self.channel = self.channels[0]
        self.user = None if user is None else User(user)
        self.got: list[tuple[bytes, bool]] = []
        self.outcome = SENT
        hub.arrive(self)
        hub.join(self)

    def sendPreparedMessage(self: Any, preparedMsg: PreparedMessage) -> object:
        if self.outcome:
            self.got.append((preparedMsg.payload, preparedMsg.isBinary))
        return self.outcome


def outcome(hub: LocalHub, *args: Any) -> Published:
    found: list[Published] = []
    hub.send_user(*args).addCallback(found.append)
    return found[0]


def test_each_connection_of_the_user_gets_it_and_no_other() -> None:
    hub = LocalHub()
    here = [Member(hub), Member(hub, "tom", "b", "c")]
    others = [Member(hub, "ann"), Member(hub, None)]
    assert outcome(hub, "tom", b"hi", True) == Published(2, 0)
    assert [each.got for each in here] == [[(b"hi", True)]] * 2
    assert [each.got for each in others] == [[], []]


def test_one_that_reads_slowly_is_told_and_one_that_closes_does_not_count() -> None:
    hub = LocalHub()
    members = [Member(hub) for _ in range(3)]
    members[0].outcome, members[1].outcome = Sent.SLOW, Sent.CLOSED
    assert outcome(hub, "tom", b"hi") == Published(1, 1)
    assert members[2].got == [(b"hi", False)]


def test_nobody_is_there() -> None:
    assert outcome(LocalHub(), "tom", b"hi") == Published(0, 0)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("", b"x"), ValueError),
        (("x" * 256, b"x"), ValueError),
        ((7, b"x"), TypeError),
        (("tom", "x"), TypeError),
    ],
)
def test_what_is_not_allowed_raises_at_once(args: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        LocalHub().send_user(*args)


def test_a_renewed_credential_leaves_a_connection_in_its_place() -> None:
    hub = LocalHub()
    members: list[Any] = [Member(hub), Member(hub)]
    members[0].user = User("tom", {"renewed": True})
    hub.identify(members[0])
    assert hub.user_members("tom") == tuple(members)
    members[0].user = User("ann")
    hub.identify(members[0])
    assert (hub.user_members("tom"), hub.user_members("ann")) == ((members[1],), (members[0],))
    hub.leave(members[0])
    hub.identify(members[0])
    assert hub.user_count("ann") == 0


def test_the_index_forgets_what_has_left() -> None:
    hub = LocalHub()
    members: list[Any] = [Member(hub), Member(hub), Member(hub, "ann")]
    assert sorted(hub.users()) == ["ann", "tom"]
    assert (hub.user_count("tom"), hub.user_members("tom")) == (2, tuple(members[:2]))
    for each in members:
        hub.leave(each)
        hub.leave(each)
    assert (list(hub.users()), hub.user_count("tom"), hub.user_members("tom")) == ([], 0, ())


def test_a_connection_without_a_user_takes_no_room() -> None:
    index = UserIndex()
    hub = LocalHub()
    hub._users = index
    Member(hub, None)
    assert (len(index._users), len(index._by_connection)) == (0, 0)


@given(st.text())
def test_no_client_can_name_the_way_to_a_user(path: str) -> None:
    assert user_of(channel_of(path)) is None or path.startswith("\0")
    assert user_of(channel_of("%00tom")) is None
    assert user_of(way_to("tom")) == "tom"
    assert message_to("tom", b"x", False).channel == "\0tom"


def test_presence_has_the_users() -> None:
    hub = LocalHub()
    for number, user in enumerate(("tom", "tom", "ann", None), 1):
        member: Any = Member(hub, user, "a")
        member.id, member.since, member.user_agent = str(number), 0.0, ""
        member.who = f"{number} here"
    Member(hub, "eve", "b")
    presence = hub.local_presence("a", 0)
    assert (presence.count, presence.users, presence.people) == (4, 2, ())
    assert hub.local_presence("b", 0).users == 1
    assert hub.local_presence("c", 0).users == 0


def marks(*users: int) -> tuple[int, ...]:
    """Return the marks that a process with some users tells."""
    index = UserIndex()
    connections = [object() for _ in users]
    for each, user in zip(connections, users, strict=True):
        index.join(each, f"user {user}")
    return told(index.marks(connections))


@given(st.lists(st.lists(st.integers(0, 50)), max_size=4))
def test_few_users_are_counted_exactly_however_they_are_spread(parts: list[list[int]]) -> None:
    known = {each for part in parts for each in part}
    assert together(marks(*part) for part in parts)[0] == len(known)


@pytest.mark.parametrize("count", [1500, 20_000])
def test_many_are_estimated(count: int) -> None:
    half = count // 2
    parts = [marks(*range(count)), marks(*range(half, count)), marks(1, 2, 3)]
    assert all(len(each) <= MOST_MARKS for each in parts)
    estimate, joined = together(parts)
    assert abs(estimate - count) < 0.15 * count
    assert joined == together([joined])[1]
    # It is the same whoever adds up first.
    assert together([together(parts[:2])[1], parts[2]])[0] == estimate
