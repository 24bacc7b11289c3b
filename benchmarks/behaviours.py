"""What the service is to do in a measurement, and ships no behaviour for."""

from __future__ import annotations

from wsservice import ServerProtocol


class Broadcast(ServerProtocol):
    """Sends every message to all on the same path, and logs none."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.broadcast(payload, isBinary)
