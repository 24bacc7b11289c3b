"""Play the client of the tutorial: send one message, log the answers, and stay."""

from __future__ import annotations

from twisted.logger import Logger

from ..log.lines import describe
from .script import say
from .session import Session

_log = Logger(namespace="wsservice.client")


class Tutorial:
    """Send `Msg from client`, and log the messages that come."""

    def opened(self, session: Session) -> None:
        session.send(b"Msg from client")

    def received(self, payload: bytes, is_binary: bool) -> None:
        _log.info("Msg received in client: {message}", message=describe(payload, is_binary, 4096))

    def say(self, text: str) -> None:
        say(text)

    def mention(self, text: str) -> None:
        """Do nothing: the tutorial does not show it."""

    def ended(self) -> None:
        """Do nothing: no terminal is to be restored."""
