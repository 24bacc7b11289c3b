"""A behaviour whose messages go to the inbox too, before it gets them."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..policy import CloseCode
from ..reading import Hold
from ..server import ServerProtocol
from .inbox import Inbox

_REASON = "messages cannot be taken now"


def receiving(protocol: type[ServerProtocol], inbox: Inbox) -> type[ServerProtocol]:
    """A behaviour like another, with an inbox. Connections of the other are as they were."""
    namespace: dict[str, Any] = {
        "__module__": protocol.__module__,
        "__qualname__": protocol.__qualname__,
        "__doc__": protocol.__doc__,
        "_inbox": inbox,
    }
    return type(protocol.__name__, (_Receiving, protocol), namespace)


class _Receiving(ServerProtocol):
    """Puts each message in the inbox; where that takes none, closes with 1013."""

    _inbox: Inbox
    _turned_away = False

    def _onOpen(self) -> None:
        if self._inbox.refuses:
            self._turn_away()
        super()._onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        # What comes behind one that was not taken is not taken either: what was has no hole.
        if self._turned_away or not self._inbox.take(self, payload, isBinary):
            self._turn_away()
            return None
        if self._inbox.is_pressed and not self._holds & Hold.INBOX:
            self._hold(Hold.INBOX)
            self._inbox.wait(partial(self._release, Hold.INBOX))
        return super().onMessage(payload, isBinary)

    def _turn_away(self) -> None:
        self._turned_away = True
        self._fail_connection(CloseCode.TRY_AGAIN_LATER, _REASON)
