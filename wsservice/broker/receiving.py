"""Put the messages of a behaviour's clients into the inbox, before the behaviour gets them."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..protocol.options import subclass
from ..protocol.owner import Hold
from ..server.behaviours import ServerProtocol
from .inbox import Inbox

_REASON = "messages cannot be taken now"


def receiving(protocol: type[ServerProtocol], inbox: Inbox) -> type[ServerProtocol]:
    """Return a behaviour like another, with an inbox. The other is not changed."""
    return subclass(protocol, (_Receiving,), {"_inbox": inbox})


class _Receiving(ServerProtocol):
    """Puts each message into the inbox. Closes with `--overload-code` if the inbox is full."""

    _inbox: Inbox
    _turned_away = False

    def _onOpen(self) -> None:
        if self._inbox.refuses:
            self._turn_away()
        super()._onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        # Messages behind one that was not taken are not taken either, so that the stream has no
        # hole in a client's messages.
        if self._turned_away or not self._inbox.take(self, payload, isBinary):
            self._turn_away()
            return None
        if self._inbox.is_pressed and not self._reader.holds & Hold.INBOX:
            self._reader.hold(Hold.INBOX)
            self._inbox.wait(partial(self._reader.release, Hold.INBOX))
        return super().onMessage(payload, isBinary)

    def _turn_away(self) -> None:
        self._turned_away = True
        self.fail_connection(self._common.limits.overload_code, _REASON)
