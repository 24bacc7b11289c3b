"""The program's part in the tutorial: it says one thing, logs what it hears, and stays."""

from __future__ import annotations

from twisted.logger import Logger

from ..lines import describe
from .script import say
from .session import Session

_log = Logger(namespace="wsservice.client")


class Tutorial:
    """Says `Msg from client`, and logs what comes."""

    def opened(self, session: Session) -> None:
        session.send(b"Msg from client")

    def received(self, payload: bytes, isBinary: bool) -> None:
        _log.info("Msg received in client: {message}", message=describe(payload, isBinary, 4096))

    def say(self, text: str) -> None:
        say(text)

    def mention(self, text: str) -> None:
        """It is no part of the tutorial."""

    def ended(self) -> None:
        """There is nothing to put in order."""
