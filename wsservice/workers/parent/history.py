"""The history of a service in several processes: the parent keeps it, and workers ask.

Every published message comes here, gets its position, and goes to all workers, including the one
that published it. Each worker therefore gets a channel's messages in the order of their offsets. If
the queue to a worker is full, the message is dropped. The worker is told so, and asks for it later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ...channels.history import History, Missed
from ...channels.message import ChannelMessage
from ...channels.page import HistoryPage, read_page
from ...channels.query import Latest, Position
from ...clock import Seconds
from ..wire.coding import BusMessage
from ..wire.framing import TooLongError
from ..wire.messages import LONGEST_KEPT, MissedPage, Publication, Stamp
from ..wire.orders import DeliveryLost
from ..wire.reports import AskHistory

_PAGE_OCTETS = 256 * 1024
"""The largest size of a page, in octets of its messages. A single message may be longer."""

_log = Logger(namespace="wsservice")


class HistoryBus(Protocol):
    """The bus to a worker, as far as it is used here."""

    def say(self, message: BusMessage) -> None:
        """Send a message other than a publication. Raises `TooLongError`."""


class HistoryWorker(Protocol):
    """A worker, as far as it is used here."""

    bus: Any


class Keeping:
    """The one history of a service. `seconds` is a monotonic clock, `wall` the wall clock."""

    def __init__(self, history: History, seconds: Seconds, wall: Seconds) -> None:
        self.history = history
        history.occupied = self.is_occupied
        self._seconds = seconds
        self._wall = wall
        # The channels on which each worker has connections. The second set holds those of which the
        # worker was told that it lost messages, until it asks.
        self._occupied: dict[HistoryWorker, set[str]] = {}
        self._told: dict[HistoryWorker, set[str]] = {}
        #: The number of messages that were too long to pass on.
        self.refused = 0

    def stamped(self, message: Publication) -> Publication | None:
        """Return a message with its position in the history; None if it is too long for the bus."""
        octets = message.octets
        if octets > LONGEST_KEPT:
            self.refused += 1
            _log.warn(
                "a message of {octets} octets reaches nobody: workers take up to {most}",
                octets=octets,
                most=LONGEST_KEPT,
            )
            return None
        entry = self.history.append(
            ChannelMessage(message.channel, message.payload, message.binary, self._wall()),
            self._seconds(),
        )
        position = Position(entry.offset, entry.epoch)
        kept = self.history.keeps(message.channel, position)
        return attrs.evolve(message, stamp=Stamp(position, entry.time, kept))

    def dropped(self, worker: HistoryWorker, channel: str) -> None:
        """Tell a worker that the queue to it was full, and a message of a channel was dropped."""
        if not self.history.keeping.of_channel(channel).size:
            return  # nobody can have it again
        if channel not in self._occupied.get(worker, ()):
            return
        told = self._told.setdefault(worker, set())
        if channel not in told:
            told.add(channel)
            worker.bus.say(DeliveryLost(channel))

    def asked(self, worker: HistoryWorker, message: AskHistory) -> None:
        """Answer a worker with the position of a channel, or its messages since a position."""
        channel, since = message.channel, message.since
        # Messages lost after this answer need another notice.
        self._told.get(worker, set()).discard(channel)
        if message.latest:
            missed = self._missed(channel, Latest(message.latest))
        elif since is not None:
            missed = self._missed(channel, Position(*since))
        else:
            missed = Missed((), self.history.position(channel))
        try:
            worker.bus.say(MissedPage(message.request, channel, missed))
        except TooLongError as error:
            # Without an answer the worker would wait forever.
            _log.error("cannot send a worker the messages it missed: {error}", error=str(error))
            missed = Missed((), self.history.position(channel), gap=True)
            worker.bus.say(MissedPage(message.request, channel, missed))

    def _missed(self, channel: str, since: Position | Latest) -> Missed:
        """Return a page of messages, which is whole if there are no more than these."""
        if isinstance(since, Latest):
            missed = self.history.latest(channel, since.count, self._seconds())
        else:
            missed = self.history.since(channel, since, self._seconds())
        missed = _page(missed)
        return attrs.evolve(missed, whole=missed.position == self.history.position(channel))

    def read(self, channel: str, limit: int, since: Position | None) -> Deferred[HistoryPage]:
        """Return a part of a channel's history: see `Hub.history`."""

        def missed(channel: str, since: Position | Latest) -> Deferred[Missed]:
            return succeed(self._missed(channel, since))

        return Deferred.fromCoroutine(read_page(missed, channel, limit, since))

    def came_and_left(
        self, worker: HistoryWorker, came: Iterable[str], left: Iterable[str]
    ) -> None:
        """Note on which channels a worker got its first connection, or lost its last one."""
        occupied = self._occupied.setdefault(worker, set())
        occupied.update(came)
        occupied.difference_update(left)
        self._told.get(worker, set()).difference_update(left)

    def gone(self, worker: HistoryWorker) -> None:
        """Forget a worker that has ended."""
        self._occupied.pop(worker, None)
        self._told.pop(worker, None)

    def is_occupied(self, channel: str) -> bool:
        """Return True if any worker has an open connection on a channel."""
        return any(channel in each for each in self._occupied.values())


def _page(missed: Missed) -> Missed:
    """Return the first messages that were missed, up to the size of a page."""
    octets = 0
    for count, entry in enumerate(missed.entries):
        octets += len(entry.payload)
        if count and octets > _PAGE_OCTETS:
            return missed.first(count)
    return missed
