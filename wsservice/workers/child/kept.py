"""The hub of a worker whose parent keeps a history."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from ...channels.following import FollowingHub
from ...channels.history import Missed
from ...channels.keeping import Keeps
from ...channels.message import ChannelMessage, new_message
from ...channels.outcome import Published
from ...channels.page import HistoryPage
from ...channels.presence import DEFAULT_LIMIT
from ...channels.query import Latest, Position
from ...channels.question import HistoryQuestion, in_time
from ...channels.users import message_to, user_of
from ...errors import NotPublishedError
from ..wire.bus import Bus
from ..wire.messages import LONGEST_KEPT, MissedPage, Publication
from ..wire.reports import AskHistory, ChannelsChanged

_ASKED_AT_ONCE = 8
"""The largest number of unanswered questions to the parent. It limits the pages that the parent
queues for this worker."""

_NAMES_AT_ONCE = 1000
"""The largest number of channel names in one message to the parent."""

_REQUESTS = 2**31
"""The count of request numbers; after it they begin at 1 again."""


class ParentHistory:
    """A worker's questions to its parent about the history. Equal questions share one answer."""

    def __init__(self, bus: Bus, reactor: Any) -> None:
        self._bus = bus
        self._reactor = reactor
        self._open: dict[tuple[str, Position | Latest | None], HistoryQuestion] = {}
        self._waiting: deque[HistoryQuestion] = deque()
        self._asked: dict[int, HistoryQuestion] = {}
        self._number = 0

    def ask(self, channel: str, since: Position | Latest | None) -> Deferred[Missed]:
        """Fire with the messages of a channel since a position; for None, only its position now.

        With `Latest` they are the last messages.
        """
        question = self._open.get((channel, since))
        if question is None:
            question = self._open[channel, since] = HistoryQuestion(channel, since)
            self._waiting.append(question)
            self._put()
        return question.asker()

    def _put(self) -> None:
        while self._waiting and len(self._asked) < _ASKED_AT_ONCE:
            question = self._waiting.popleft()
            self._number = self._number % _REQUESTS + 1
            self._asked[self._number] = question
            self._bus.say(_asking(self._number, question.channel, question.since))

    def answered(self, page: MissedPage) -> None:
        """Settle a question with the parent's answer."""
        question = self._asked.pop(page.request)
        del self._open[question.channel, question.since]
        self._put()
        question.answer(page.missed, self._reactor)


def _asking(number: int, channel: str, place: Position | Latest | None) -> AskHistory:
    if isinstance(place, Latest):
        return AskHistory(number, channel, None, place.count)
    return AskHistory(number, channel, None if place is None else (place.offset, place.epoch))


class KeptHub(FollowingHub):
    """The hub of a worker whose parent keeps a history.

    A message published here goes to the parent, which sends it to all workers, this one included,
    with its position in the history. It is dropped if the queue of the bus is full.
    """

    def __init__(self, bus: Bus, reactor: Any, keeps: Keeps | None = None) -> None:
        super().__init__(keeps)
        self._bus = bus
        self._reactor = reactor
        self._questions = ParentHistory(bus, reactor)
        # The channels that got their first connection, or lost their last one, in this turn.
        self._changed: dict[str, None] = {}

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message: see `Hub`.

        Return the number of this worker's connections on the channel, which will get it soon.
        Return 0 too if the message is dropped: the parent reads too slowly, or the message is
        too long for a history.
        """
        message = new_message(channel, payload, isBinary)
        return self.local_count(channel) if self._put(message) else 0

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Send a message: see `Hub`. The outcome counts this worker's connections only."""
        if not self._put(message):
            why = "the way to the other workers is full, or it is too long for a history"
            return fail(NotPublishedError(f"it was published to nobody: {why}"))
        return succeed(Published(self.local_count(message.channel), 0, complete=False))

    def send_user(self, user: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message: see `Hub`. The outcome counts this worker's connections only."""
        # No history keeps it, so it need not go to the parent and back.
        message = message_to(user, payload, isBinary)
        here = self._send_to(message)
        self._bus.publish(Publication(message.channel, payload, isBinary).body())
        return succeed(here._replace(complete=False))

    def _put(self, message: ChannelMessage) -> bool:
        """Pass a message to the parent. Return False if it is dropped."""
        channel, payload, is_binary, *_ = message
        publication = Publication(channel, payload, is_binary)
        # The parent refuses a message that is too long, and counts it.
        return self._bus.publish(publication.body()) and publication.octets <= LONGEST_KEPT

    def receive(self, publication: Publication) -> tuple[int, int]:
        """Send a message that the parent passes on.

        Return the number of connections that took it, and of those that did not.
        """
        stamp = publication.stamp
        channel = publication.channel
        if user_of(channel) is not None:
            message = ChannelMessage(channel, publication.payload, publication.binary)
            return self._send_to(message)[:2]
        if stamp is None or not self.is_occupied(channel):
            return 0, 0
        payload, is_binary, place = publication.payload, publication.binary, stamp.position
        message = ChannelMessage(channel, payload, is_binary, stamp.time, place.offset, place.epoch)
        return self.hear(message, stamp.kept)

    def lost(self, channel: str) -> None:
        """Note that the parent dropped messages of a channel on their way to this worker."""
        if channel in self._channels and not self.lost_some(channel):
            self.position(channel)  # the answer sets the position

    def position(self, channel: str) -> Deferred[Position]:
        self._tell()
        return self._questions.ask(channel, None).addCallback(lambda missed: missed.position)

    def missed(self, channel: str, since: Position | Latest) -> Deferred[Missed]:
        self._tell()
        return self._questions.ask(channel, since)

    def history(
        self, channel: str, limit: int = DEFAULT_LIMIT, since: Position | None = None
    ) -> Deferred[HistoryPage]:
        return in_time(super().history(channel, limit, since), self._reactor)

    def answered(self, page: MissedPage) -> None:
        """Settle a question with the parent's answer."""
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
        """Tell the parent which channels have connections, before any question about a channel."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        names = list(changed)
        # There may be many: each connection may name several channels in its query.
        for start in range(0, len(names), _NAMES_AT_ONCE):
            part = names[start : start + _NAMES_AT_ONCE]
            came = tuple(channel for channel in part if self.is_occupied(channel))
            left = tuple(channel for channel in part if not self.is_occupied(channel))
            self._bus.say(ChannelsChanged(came, left))
