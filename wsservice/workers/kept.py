"""Sending to many, in all workers, where the parent keeps a history."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from ..channels import Position
from ..envelopes import Published
from ..history import Missed
from ..hub import FollowingHub
from ..hub.question import Question
from ..sending import no_payload
from .bus import Bus
from .messages import Page, Publication

_ASKED_AT_ONCE = 8
"""Questions that the parent is asked before it has answered the first: so many pages may wait
in it for this worker."""

_REQUESTS = 2**31
"""Numbers that questions have, until they begin anew."""


class Questions:
    """What a worker asks its parent of the history. Who asks the same shares one answer."""

    def __init__(self, bus: Bus, reactor: Any) -> None:
        self._bus = bus
        self._reactor = reactor
        self._open: dict[tuple[str, Position | None], Question] = {}
        self._waiting: deque[Question] = deque()
        self._asked: dict[int, Question] = {}
        self._number = 0

    def ask(self, channel: str, since: Position | None) -> Deferred[Missed]:
        """What came on a channel since a position; of None, only where it is now."""
        question = self._open.get((channel, since))
        if question is None:
            question = self._open[channel, since] = Question(channel, since)
            self._waiting.append(question)
            self._put()
        return question.asker()

    def _put(self) -> None:
        while self._waiting and len(self._asked) < _ASKED_AT_ONCE:
            question = self._waiting.popleft()
            self._number = self._number % _REQUESTS + 1
            self._asked[self._number] = question
            since = question.since and [question.since.offset, question.since.epoch]
            self._bus.say("ask", request=self._number, channel=question.channel, since=since)

    def answered(self, page: Page) -> None:
        """The parent has answered."""
        question = self._asked.pop(page.request)
        del self._open[question.channel, question.since]
        self._put()
        question.answer(page.missed, self._reactor)


class KeptHub(FollowingHub):
    """The hub of a worker whose parent keeps a history.

    What is published here goes to the parent, and comes back to this worker as to all
    others, with its place in the history; dropped where the bus has no room.
    """

    def __init__(self, bus: Bus, reactor: Any) -> None:
        super().__init__()
        self._bus = bus
        self._reactor = reactor
        self._questions = Questions(bus, reactor)
        # Those that connections came to, or that the last one left, in this turn.
        self._changed: dict[str, None] = {}

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel, in every worker.

        Returns how many of this worker's are on it, and will get it soon; 0, too, where
        the parent takes so little that the message is dropped, and reaches nobody.
        """
        if not isinstance(payload, bytes):
            raise no_payload(payload)
        if not self._bus.publish(Publication(channel, payload, isBinary).body()):
            return 0
        return len(self._channels.get(channel, ())) + len(self._behind.get(channel, ()))

    def deliver(self, publication: Publication) -> tuple[int, int]:
        """Send what the parent passes on.

        Returns to how many it was handed, and how many did not take it.
        """
        stamp = publication.stamp
        channel = publication.channel
        if stamp is None or not self.is_occupied(channel):
            return 0, 0
        message = Published(channel, publication.payload, publication.binary, stamp.time)
        message.position = stamp.position
        return self.hear(message, stamp.kept)

    def lost(self, channel: str) -> None:
        """The parent had no room for some messages of a channel."""
        if channel in self._channels and not self.lost_some(channel):
            self.position(channel)  # which is learned as the answer comes

    # The contract is that of a history that is elsewhere.
    def position(self, channel: str) -> Deferred[Position]:  # type: ignore[override]
        """Where a channel is now."""
        self._tell()
        return self._questions.ask(channel, None).addCallback(lambda missed: missed.position)

    def missed(self, channel: str, since: Position) -> Deferred[Missed]:  # type: ignore[override]
        """What was published on a channel since a position, the first of it."""
        self._tell()
        return self._questions.ask(channel, since)

    def answered(self, page: Page) -> None:
        """The parent has answered."""
        if not page.missed.entries:
            self.learned(page.channel, page.missed.position)
        self._questions.answered(page)

    def _came_to(self, channel: str) -> None:
        if not self._changed:
            self._reactor.callLater(0, self._tell)
        self._changed[channel] = None

    def _left(self, channel: str) -> None:
        self._came_to(channel)

    def _tell(self) -> None:
        """Say who is where. Before anything is asked of a channel, that it has connections."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        came = [channel for channel in changed if self.is_occupied(channel)]
        left = [channel for channel in changed if not self.is_occupied(channel)]
        self._bus.say("channels", came=came, left=left)
