"""Connect the program: tell its session what comes, and wait patiently for the server's close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..client.protocol import ClientProtocol
from ..net.transports import unacknowledged
from ..protocol.owner import Hold

_MOST_EXTENSIONS = 12
"""How often the close timeout restarts although the server has taken nothing from us."""


class TalkListener(Protocol):
    """The receiver of a connection's events."""

    @property
    def wants_the_rest(self) -> bool:
        """True if messages after our close frame are still wanted."""

    def received(self, payload: bytes, is_binary: bool) -> None:
        """Take a message that came."""

    def has_room(self) -> None:
        """Send more: the connection has room."""


class Talk(ClientProtocol):
    """A connection that tells its `session`. Each session makes a subclass."""

    session: TalkListener

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
        """Octets that the server has not taken yet."""
        return self._queue.octets

    def pause_reading(self) -> None:
        self._was_held = True
        super().pause_reading()

    def _slow_down(self) -> None:
        """Read on while our output is full.

        A server may stop reading until we have read its answers. If we also stopped reading, both
        would wait for ever. The source of messages pauses instead.
        """

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the messages of a `with` block in few writes."""
        gathering = self.factory.gathering
        outermost = not gathering.under_way
        gathering.under_way = True
        try:
            yield
        finally:
            if outermost:
                self._reader.send_gathered(self)

    def onCloseHandshakeTimeout(self) -> None:
        """Wait longer for the server's close frame, or give up.

        The timeout is for a silent server. It restarts while the server still sends, or takes
        octets of ours. A server that is slow, or never stops sending, gets a minute, not counting
        our own delays.
        """
        if not self.session.wants_the_rest or not self._something_moves():
            super().onCloseHandshakeTimeout()
            return
        self.closeHandshakeTimeoutCall = self.factory._batched_timer.call_later(
            self._common.limits.close_timeout, self.onCloseHandshakeTimeout
        )

    def _something_moves(self) -> bool:
        was_held, self._was_held = self._was_held, bool(self._reader.holds & Hold.BEHAVIOUR)
        before, self._on_the_way = (
            self._on_the_way,
            self._queue.octets + unacknowledged(self.transport),
        )
        if was_held or before != self._on_the_way:
            self._is_slow = self._is_slow or not was_held
            return True
        if (
            not self._is_slow
            and self._common.seconds() - self._reader.last_life >= self._common.limits.close_timeout
        ):
            return False
        self._extensions += 1
        return self._extensions <= _MOST_EXTENSIONS
