"""A room whose members have names: the page of `flask_tickets.py` talks to it."""

from wsservice import ServerProtocol


class Members(ServerProtocol):
    """Say who comes, who leaves, and who says what."""

    @property
    def name(self) -> str:
        return "nobody" if self.user is None else self.user.id

    def onOpen(self) -> None:
        self.broadcast(f"{self.name} is here".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if not isBinary:
            self.broadcast(f"{self.name}: ".encode() + payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self.user is not None:  # None for a client that was refused
            self.broadcast(f"{self.name} has left".encode())
