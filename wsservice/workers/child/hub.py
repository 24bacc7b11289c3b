"""The hub of a worker: it publishes to the connections of all workers."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from ...channels.hub import LocalHub
from ...channels.message import ChannelMessage
from ...channels.outcome import Published
from ...channels.users import message_to, user_of
from ..wire.bus import Bus
from ..wire.messages import Publication


class WorkerHub(LocalHub):
    """The hub of a worker: a message published in one worker reaches all.

    The connections of this worker get it at once. Those of others get it over the bus, in the
    order of publishing here. It is dropped if the queue of the bus is full.
    """

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Send a message: see `Hub`. The outcome counts this worker's connections only."""
        delivered = super().deliver(message)
        return delivered.addCallback(lambda published: published._replace(complete=False))

    def receive(self, publication: Publication) -> tuple[int, int]:
        """Send a message that another worker, or the parent, published.

        Return the number of connections that took it, and of those that did not.
        """
        channel, payload, is_binary = publication.channel, publication.payload, publication.binary
        if user_of(channel) is not None:
            return self._send_to(ChannelMessage(channel, payload, is_binary))[:2]
        count = len(self._channels.get(channel, ()))
        handed = super()._publish(ChannelMessage(channel, payload, is_binary, self._wall()))
        return handed, count - handed

    def send_user(self, user: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message: see `Hub`. The outcome counts this worker's connections only."""
        message = message_to(user, payload, isBinary)
        here = self._send_to(message)
        self._bus.publish(Publication(message.channel, payload, isBinary).body())
        return succeed(here._replace(complete=False))

    def _publish(self, message: ChannelMessage) -> int:
        handed = super()._publish(message)
        channel, payload, is_binary, *_ = message
        self._bus.publish(Publication(channel, payload, is_binary).body())
        return handed
