"""How long a round trip to the server takes."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .ended import why_ended


class Pinging:
    """Sends pings and waits for their pongs. To be mixed in before a `Connection`."""

    # The connection's
    STATE_OPEN: int
    state: int
    sendPing: Callable[[bytes], None]
    _seconds: Callable[[], float]

    # Made with the first ping: most connections never send one.
    _pings: dict[bytes, tuple[float, Deferred[float]]] | None = None

    def ping(self, payload: bytes | None = None) -> Deferred[float]:
        """Ping the server: fires with the seconds that its answer took.

        `payload` is what the server is to answer with, at most 125 octets; by
        default something that nobody guesses, so that a pong sent before is no
        answer. Raises `ValueError` for one that is under way already.

        Fails with `ConnectionClosed` where none can come any more. While too much
        waits to be read, none is seen; `addTimeout` bounds that.
        """
        if self.state != self.STATE_OPEN:
            return fail(why_ended(self))
        octets = os.urandom(8) if payload is None else payload
        answered: Deferred[float] = Deferred(lambda _: self._forget_ping(octets))
        if self._pings is None:
            self._pings = {}
        if octets in self._pings:
            raise ValueError("a ping with this text waits for its answer already")
        self._pings[octets] = self._seconds(), answered
        self.sendPing(octets)
        return answered

    def _forget_ping(self, payload: bytes) -> None:
        (self._pings or {}).pop(payload, None)

    def _onPong(self, payload: bytes) -> None:
        if self._pings is not None and payload in self._pings:
            self._answered(payload)
        super()._onPong(payload)  # type: ignore[misc]

    def _answered(self, payload: bytes) -> None:
        # One that answers several pings may answer the last of them (RFC 6455, 5.5.3).
        pings, now = self._pings or {}, self._seconds()
        sent = list(pings)
        for each in sent[: sent.index(payload) + 1]:
            began, answered = pings.pop(each)
            answered.callback(now - began)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[misc]
        pings, self._pings = self._pings or {}, None
        for _, answered in pings.values():
            answered.errback(why_ended(self))
