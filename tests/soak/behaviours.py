"""The behaviour that the service runs."""

from __future__ import annotations

from wsservice import ServerProtocol

from .schedule import FLOOD, MESSAGES, OCTETS, ROOM


class Talking(ServerProtocol):
    """Logs each message; broadcasts it in a room, floods who asks for it, echoes anything else."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Log a message, and broadcast, answer or echo it."""
        super().onMessage(payload, isBinary)
        if self.channel.startswith(ROOM):
            self.broadcast(payload, isBinary)
        elif self.channel == FLOOD:
            for _ in range(MESSAGES):
                self.sendMessage(bytes(OCTETS), True)
        else:
            self.sendMessage(payload, isBinary)
