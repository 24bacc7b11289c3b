"""Sending to many, in all workers."""

from __future__ import annotations

from ..hub import LocalHub
from .bus import Bus
from .messages import Publication


class WorkerHub(LocalHub):
    """The hub of a worker: what is published in one worker reaches all.

    The connections of this worker have it at once, those of others by the bus, in the
    order in which it was published here; dropped where that has no room.
    """

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> int:
        """Send a message to every open connection on a channel, in every worker.

        Returns to how many of this worker's it was handed.
        """
        handed = super().publish(channel, payload, isBinary)
        self._bus.publish(Publication(channel, payload, isBinary).body())
        return handed

    def deliver(self, publication: Publication) -> tuple[int, int]:
        """Send what another worker, or the parent, published.

        Returns to how many it was handed, and how many did not take it.
        """
        channel = publication.channel
        count = len(self._channels.get(channel, ()))
        handed = super().publish(channel, publication.payload, publication.binary)
        return handed, count - handed
