from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from wsservice.auth.contract import User
from wsservice.channels.hub import LocalHub
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.query import Position
from wsservice.protocol.sending import SENT, PreparedMessage, Sent
from wsservice.workers.child.hub import WorkerHub
from wsservice.workers.child.kept import KeptHub
from wsservice.workers.wire.messages import Publication, publication


class Member:
    """A connection that keeps what it is sent."""

    channel = "news"
    channels = ("news",)
    user: User | None = None

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.slow = False

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> object:
        self.got.append(preparedMsg.payload)
        return Sent.SLOW if self.slow else SENT

    def fall_behind(self, channel: str, since: Position) -> None:
        raise AssertionError

    def tell_gap(self, channel: str) -> None:
        raise AssertionError(channel)

    def go_away(self) -> None:
        raise AssertionError


class Bus:
    """A bus that keeps what is published on it."""

    def __init__(self) -> None:
        self.published: list[Publication] = []

    def publish(self, body: bytes) -> bool:
        self.published.append(publication(body))
        return True


def joined() -> tuple[WorkerHub, Bus, Member]:
    bus = Bus()
    hub = WorkerHub(bus)  # type: ignore[arg-type]
    member = Member()
    hub.arrive(member)
    hub.join(member)
    return hub, bus, member


def test_what_is_published_is_sent_here_and_passed_on() -> None:
    hub, bus, member = joined()
    assert hub.publish("news", b"one", True) == 1
    assert hub.publish("other", b"two") == 0
    assert member.got == [b"one"]
    assert bus.published == [Publication("news", b"one", True), Publication("other", b"two")]


def test_whoever_delivers_is_told_of_this_workers_connections_only() -> None:
    hub, bus, member = joined()
    outcome = hub.deliver(ChannelMessage("news", b"one", True)).result
    assert outcome == Published(1, 0, complete=False)
    assert member.got == [b"one"]
    assert bus.published == [Publication("news", b"one", True)]


def test_what_comes_is_sent_here_only() -> None:
    hub, bus, member = joined()
    assert hub.receive(Publication("news", b"one")) == (1, 0)
    assert member.got == [b"one"]
    assert bus.published == []
    member.slow = True
    assert hub.receive(Publication("news", b"two")) == (0, 1)
    assert hub.receive(Publication("other", b"two")) == (0, 0)


def test_a_message_to_a_user_is_sent_here_and_passed_on() -> None:
    hub, bus, member = joined()
    member.user = User("tom")
    hub.identify(member)
    found: list[Published] = []
    hub.publish("news", b"before")
    hub.send_user("tom", b"hi", True).addCallback(found.append)
    hub.send_user("ann", b"ho").addCallback(found.append)
    assert found == [Published(1, 0, False), Published(0, 0, False)]
    assert member.got == [b"before", b"hi"]
    assert [(each.channel, each.payload, each.binary) for each in bus.published] == [
        ("news", b"before", False),
        ("\0tom", b"hi", True),
        ("\0ann", b"ho", False),
    ]


def test_a_message_to_a_user_from_another_worker_is_sent_here() -> None:
    hub, bus, member = joined()
    member.user = User("tom")
    hub.identify(member)
    assert hub.receive(Publication("\0tom", b"hi")) == (1, 0)
    assert hub.receive(Publication("tom", b"a channel of that name")) == (0, 0)
    assert hub.receive(Publication("\0ann", b"ho")) == (0, 0)
    member.slow = True
    assert hub.receive(Publication("\0tom", b"slow")) == (0, 1)
    assert (member.got, bus.published) == ([b"hi", b"slow"], [])


@pytest.mark.parametrize("make", [WorkerHub, lambda bus: KeptHub(bus, Clock())])
def test_no_channel_is_the_way_to_a_user(make: Callable[[Bus], LocalHub]) -> None:
    bus = Bus()
    with pytest.raises(ValueError, match="begins with NUL"):
        make(bus).publish("\0tom", b"as if an operator had sent it")
    assert not bus.published
