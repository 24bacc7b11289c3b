"""Extend a behaviour so that its connections tell a webhook what happens."""

from __future__ import annotations

from typing import Any

from ..protocol.options import subclass
from ..server.behaviours import ServerProtocol
from . import events
from .sender import Webhook


def telling(protocol: type[ServerProtocol], webhook: Webhook) -> type[ServerProtocol]:
    """Return a subclass of a behaviour that tells a webhook. The given class is unchanged."""
    mixins: list[type] = []
    if webhook.events & {events.CONNECT, events.DISCONNECT}:
        mixins.append(_Connections)
    if events.MESSAGE in webhook.events:
        mixins.append(_Messages)
    return subclass(protocol, tuple(mixins), {"_webhook": webhook})


class _Connections(ServerProtocol):
    """A connection that tells its start and its end."""

    _webhook: Webhook
    _told_open = False

    def _opened(self) -> None:
        self._told_open = True
        if events.CONNECT in self._webhook.events:
            event = events.connect(self, self._webhook.seconds)
            self._webhook.tell(event, events.peer_of(self))
        super()._opened()

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._told_open and events.DISCONNECT in self._webhook.events:
            said = reason if wasClean and reason else ""
            event = events.disconnect(self, self._webhook.seconds, said)
            self._webhook.tell(event, events.peer_of(self))
        super()._onClose(wasClean, code, reason)


class _Messages(ServerProtocol):
    """A connection that tells each message, before the behaviour gets it."""

    _webhook: Webhook

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        event = events.message(self, self._webhook.seconds, payload, isBinary)
        self._webhook.tell(event, events.peer_of(self))
        return super().onMessage(payload, isBinary)
