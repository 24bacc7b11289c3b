"""Behaviours that are slow to decide, or fail."""

from __future__ import annotations

from typing import Any

from autobahn.websocket.types import ConnectionRequest
from twisted.internet import reactor
from twisted.internet.defer import fail
from twisted.internet.task import deferLater

from .behaviours import Greeting, Watched
from .channels import CONTROL, NEIGHBOUR

SECRET = "a secret\r\nSet-Cookie: evil=1\r\n\r\nof the behaviour"


class Slow(Greeting):
    """Takes a while for its decision."""

    def onConnect(self, request: ConnectionRequest) -> Any:
        if request.path.strip("/") in (CONTROL, NEIGHBOUR):
            return None
        later: Any = reactor
        return deferLater(later, 0.3)


class Failing(Watched):
    """Fails as its path says: in which callback, and how."""

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.where, _, self.how = request.path.strip("/").partition("/")
        return self._fail("connect")

    def onOpen(self) -> Any:
        return self._fail("open")

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.channel == CONTROL:
            return super().onMessage(payload, isBinary)
        return self._fail("message")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> Any:
        return self._fail("close")

    def _fail(self, where: str) -> Any:
        if where != self.where:
            return None
        if self.how == "raises":
            raise RuntimeError(f"{where} {self.how}: {SECRET}")
        error = RuntimeError(f"{where} {self.how}: {SECRET}")
        return fail(error) if self.how == "deferred" else self._coroutine(error)

    async def _coroutine(self, error: Exception) -> None:
        later: Any = reactor
        await deferLater(later, 0)
        raise error
