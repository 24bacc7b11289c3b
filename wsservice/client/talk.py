"""The program's connection: it tells its session, and is patient with what still comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..reading import Hold
from ..transports import unacknowledged
from .protocol import ClientProtocol

_MOST_EXTENSIONS = 12
"""How often a close timeout begins anew although nothing that we sent was taken."""


class Listener(Protocol):
    """Who is told what happens on a connection."""

    @property
    def wants_the_rest(self) -> bool:
        """Whether what comes after our close frame is of interest."""

    def received(self, payload: bytes, isBinary: bool) -> None:
        """A message came in."""

    def has_room(self) -> None:
        """The connection takes more to send."""


class Talk(ClientProtocol):
    """A connection that tells its `session`. To be subclassed for each one."""

    session: Listener

    _was_held = False
    _is_slow = False
    _on_the_way = 0
    _extensions = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.session.received(payload, isBinary)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.session.has_room()

    @property
    def octets_waiting(self) -> int:
        """Octets that the server did not take yet."""
        return self._queue.octets

    def pause_reading(self) -> None:
        self._was_held = True
        super().pause_reading()

    def _hold(self, why: int) -> None:
        # A server may well not read us before we have read what it answered. Who sends
        # is told to pause; were we not to read meanwhile, both would wait for ever.
        if why != Hold.OUTPUT:
            super()._hold(why)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is sent within leaves in few writes."""
        gathering = self.factory.gathering
        outermost = not gathering.under_way
        gathering.under_way = True
        try:
            yield
        finally:
            if outermost:
                self._send_gathered()

    def onCloseHandshakeTimeout(self) -> None:
        """The server has not answered our close frame yet.

        That is no reason to cut off what it still sends, or has not taken of ours
        yet: the close timeout is for one who says nothing. A server that is slow,
        or goes on for ever, gets a minute, in which none of our own slowness counts.
        """
        if not self.session.wants_the_rest or not self._something_moves():
            super().onCloseHandshakeTimeout()
            return
        self.closeHandshakeTimeoutCall = self.factory._batched_timer.call_later(
            self._limits.close_timeout, self.onCloseHandshakeTimeout
        )

    def _something_moves(self) -> bool:
        was_held, self._was_held = self._was_held, bool(self._holds & Hold.BEHAVIOUR)
        before, self._on_the_way = (
            self._on_the_way,
            self._queue.octets + unacknowledged(self.transport),
        )
        if was_held or before != self._on_the_way:
            self._is_slow = self._is_slow or not was_held
            return True
        if not self._is_slow and self._seconds() - self._last_life >= self._limits.close_timeout:
            return False
        self._extensions += 1
        return self._extensions <= _MOST_EXTENSIONS
