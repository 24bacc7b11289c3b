"""The hub of a worker: it publishes to the connections of all workers."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ...channels.hub import LocalHub
from ...channels.message import ChannelMessage
from ...channels.outcome import Published
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
        count = len(self._channels.get(channel, ()))
        handed = super()._publish(ChannelMessage(channel, payload, is_binary, self._wall()))
        return handed, count - handed

    def _publish(self, message: ChannelMessage) -> int:
        handed = super()._publish(message)
        channel, payload, is_binary, *_ = message
        self._bus.publish(Publication(channel, payload, is_binary).body())
        return handed
