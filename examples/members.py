"""A room whose members have names: the page of `flask_tickets.py` talks to it."""

from wsservice import ServerProtocol


class Members(ServerProtocol):
    """Say who comes, who leaves, and who says what."""

    def onOpen(self) -> None:
        self.broadcast(f"{self.user.id} is here".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if not isBinary:
            self.broadcast(f"{self.user.id}: ".encode() + payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self.user is not None:  # None for one that was refused
            self.broadcast(f"{self.user.id} has left".encode())
