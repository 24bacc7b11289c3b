from __future__ import annotations

from wsservice.auth.contract import User
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.query import Position
from wsservice.protocol.sending import SENT, PreparedMessage, Sent
from wsservice.workers.child.hub import WorkerHub
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
