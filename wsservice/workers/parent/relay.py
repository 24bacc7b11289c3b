"""A message for a channel, passed to every worker, by way of the history where one is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import attrs
from twisted.internet.defer import Deferred, succeed

from ...channels.message import ChannelMessage
from ...channels.outcome import Published
from ...channels.users import user_of
from ..wire.messages import DeliveredCounts, Publication, publication
from .history import Keeping
from .process import Worker
from .requests import Requests, Unanswered


class Relay:
    """Publishes in all workers that `serving` returns.

    `requests` collects what they answer; `keeping` is the history, None where none is kept.
    """

    def __init__(
        self,
        serving: Callable[[], Sequence[Worker]],
        requests: Requests,
        keeping: Keeping | None,
    ) -> None:
        self._serving = serving
        self._requests = requests
        self._keeping = keeping

    def published(self, worker: Worker, body: bytes) -> None:
        """Pass on a message, as octets of the bus, that a worker published."""
        if self._keeping is not None:
            message = publication(body)
            if user_of(message.channel) is None:
                self._keep(message, self._keeping)
                return
        for each in self._serving():
            if each is not worker:
                each.bus.publish(body)

    def _keep(self, message: Publication, keeping: Keeping) -> None:
        """Put a message into the history, and pass it on to all workers, its own included."""
        stamped = keeping.stamped(message)
        if stamped is None:
            return
        body = stamped.body()
        for each in self._serving():
            if not each.bus.publish(body):
                keeping.dropped(each, message.channel)

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Send a message to every open connection on its channel, in every worker.

        Fire within a second with the outcome. It is complete if every worker has answered.
        """
        workers = self._serving()
        keeping = self._keeping
        channel, payload, is_binary, *_ = message
        unstamped = Publication(channel, payload, is_binary)
        stamped = unstamped if keeping is None else keeping.stamped(unstamped)
        if stamped is None:
            return succeed(Published(0, 0, complete=not workers))

        @cache  # all have the same
        def numbered(request: int) -> tuple[Publication, bytes]:
            message = attrs.evolve(stamped, request=request)
            return message, message.body()

        def put(
            worker: Worker, request: int, answered: Callable[[DeliveredCounts | Unanswered], None]
        ) -> None:
            message, body = numbered(request)
            room = worker.pass_on(message, answered, body)
            if keeping is not None and not room:
                keeping.dropped(worker, channel)

        return self._requests.put(workers, put).addCallback(_sum)


def _sum(answers: Sequence[DeliveredCounts | Unanswered]) -> Published:
    known = [each for each in answers if not isinstance(each, Unanswered)]
    handed = sum(each.handed for each in known)
    dropped = sum(each.dropped for each in known)
    return Published(handed, dropped, complete=len(known) == len(answers))
