from __future__ import annotations

from wsservice.channels import Position
from wsservice.sending import SENT, PreparedMessage, Sent
from wsservice.workers.hub import WorkerHub
from wsservice.workers.messages import Publication, publication


class Member:
    """A connection that keeps what it is sent."""

    channel = "news"
    channels = ("news",)

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.slow = False

    def sendPreparedMessage(self, preparedMsg: PreparedMessage) -> object:
        self.got.append(preparedMsg.payload)
        return Sent.SLOW if self.slow else SENT

    def fall_behind(self, channel: str, since: Position) -> None:
        raise AssertionError

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


def test_what_comes_is_sent_here_only() -> None:
    hub, bus, member = joined()
    assert hub.deliver(Publication("news", b"one")) == (1, 0)
    assert member.got == [b"one"]
    assert bus.published == []
    member.slow = True
    assert hub.deliver(Publication("news", b"two")) == (0, 1)
    assert hub.deliver(Publication("other", b"two")) == (0, 0)
