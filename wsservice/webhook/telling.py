"""A behaviour that tells a webhook too: what a connection does when there is one."""

from __future__ import annotations

from typing import Any

from ..server import ServerProtocol
from . import events
from .sender import Webhook


def telling(protocol: type[ServerProtocol], webhook: Webhook) -> type[ServerProtocol]:
    """A behaviour like another, whose connections tell. Those of the other are as they were."""
    namespace: dict[str, Any] = {
        "__module__": protocol.__module__,
        "__qualname__": protocol.__qualname__,
        "__doc__": protocol.__doc__,
        "_webhook": webhook,
    }
    bases: list[type] = [protocol]
    if events.MESSAGE in webhook.events:
        bases.insert(0, _Messages)
    if webhook.events & {events.CONNECT, events.DISCONNECT}:
        bases.insert(0, _Connections)
    return type(protocol.__name__, tuple(bases), namespace)


class _Connections(ServerProtocol):
    """Tells that it is open, and that it is over."""

    _webhook: Webhook
    _told_open = False

    def _opened(self) -> None:
        self._told_open = True
        if events.CONNECT in self._webhook.events:
            self._webhook.tell(events.connect(self, self._webhook.seconds))
        super()._opened()

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._told_open and events.DISCONNECT in self._webhook.events:
            said = reason if wasClean and reason else ""
            self._webhook.tell(events.disconnect(self, self._webhook.seconds, said))
        super()._onClose(wasClean, code, reason)


class _Messages(ServerProtocol):
    """Tells each message, before the behaviour gets it."""

    _webhook: Webhook

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self._webhook.tell(events.message(self, self._webhook.seconds, payload, isBinary))
        return super().onMessage(payload, isBinary)
