"""Measure the time of a round trip to the server."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, fail

from ..protocol.common import Common
from .ended import why_ended


class Pings:
    """The pings of a connection that wait for their pongs. It is made with the first one.

    Methods that need the connection get it, so that no reference to it is kept.
    """

    __slots__ = ("_common", "waiting")

    def __init__(self, common: Common) -> None:
        self._common = common
        #: When a ping was sent, and what fires with the answer, by payload.
        self.waiting: dict[bytes, tuple[float, Deferred[float]]] = {}

    def send(self, connection: Any, payload: bytes | None) -> Deferred[float]:
        """Send a ping. See `ClientProtocol.ping`."""
        octets = os.urandom(8) if payload is None else payload
        answered: Deferred[float] = Deferred(lambda _: self._forget(octets))
        if octets in self.waiting:
            raise ValueError("a ping with this payload still waits for its pong")
        if not connection.sendPing(octets):
            return fail(why_ended(connection))
        self.waiting[octets] = self._common.seconds(), answered
        return answered

    def _forget(self, payload: bytes) -> None:
        self.waiting.pop(payload, None)

    def ponged(self, payload: bytes) -> None:
        """Answer the ping with a payload, if there is one, and those before it."""
        if payload not in self.waiting:
            return
        # A server may answer only the last of several pings (RFC 6455, 5.5.3).
        now, sent = self._common.seconds(), list(self.waiting)
        for each in sent[: sent.index(payload) + 1]:
            began, answered = self.waiting.pop(each)
            answered.callback(now - began)

    def end(self, connection: Any) -> None:
        """Fail all pings that wait, since the connection is over."""
        waiting, self.waiting = self.waiting, {}
        for _, answered in waiting.values():
            answered.errback(why_ended(connection))
