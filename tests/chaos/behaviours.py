"""The behaviour that the nodes run: it publishes what it is told to."""

from __future__ import annotations

from wsservice import ServerProtocol


class Speaking(ServerProtocol):
    """Publishes each message on its path's channel, and says to how many it was handed.

    The connection is on that channel itself: so 0 is said only where nobody gets it.
    """

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Publish by the hub or by `broadcast`, in turns of what the payload's length says."""
        if len(payload) % 2:
            handed = self.broadcast(payload, isBinary)
        else:
            handed = self.factory.hub.publish(self.channel, payload, isBinary)
        self.sendMessage(b"handed %d" % handed)
