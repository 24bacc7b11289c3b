from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.workers.parent.relay import Relay
from wsservice.workers.parent.requests import Requests, Unanswered
from wsservice.workers.wire.messages import DeliveredCounts, Publication


class Worker:
    """A worker that keeps what it is given, and answers when it is told to."""

    def __init__(self) -> None:
        self.bus = self
        self.published: list[bytes] = []
        self.asked: list[tuple[Callable[[Any], None], Publication, bytes]] = []

    def publish(self, body: bytes) -> bool:
        self.published.append(body)
        return True

    def pass_on(self, message: Publication, answered: Callable[[Any], None], body: bytes) -> bool:
        self.asked.append((answered, message, body))
        return True

    def forget(self, request: int) -> None:
        pass


def relayed(*workers: Any) -> Relay:
    return Relay(lambda: workers, Requests(Clock()), None)


def test_a_workers_message_goes_to_all_but_itself() -> None:
    one, other, third = workers = [Worker(), Worker(), Worker()]
    relayed(*workers).published(other, b"body")  # type: ignore[arg-type]
    assert [each.published for each in (one, other, third)] == [[b"body"], [], [b"body"]]


def test_a_message_to_a_user_passes_by_the_history() -> None:
    one, other = workers = [Worker(), Worker()]

    class Keeping:
        def stamped(self, message: Publication) -> None:
            raise AssertionError(message)

    keeping: Any = Keeping()
    relay = Relay(lambda: workers, Requests(Clock()), keeping)  # type: ignore[arg-type,return-value]
    body = Publication("\0tom", b"hi").body()
    relay.published(other, body)  # type: ignore[arg-type]
    assert (one.published, other.published) == ([body], [])


def test_the_parents_message_goes_to_all_and_their_answers_are_added_up() -> None:
    one, other = workers = [Worker(), Worker()]
    outcome: Any = relayed(*workers).deliver(ChannelMessage("news", b"hi", True))
    sent = Publication("news", b"hi", True, 1)
    assert [asked[1:] for each in workers for asked in each.asked] == [(sent, sent.body())] * 2
    one.asked[0][0](DeliveredCounts(3, 1))
    other.asked[0][0](Unanswered.GONE)
    assert outcome.result == Published(3, 1, complete=False)
