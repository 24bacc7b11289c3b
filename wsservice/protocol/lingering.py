"""Delay the end of a connection until the peer can read the last octets sent to it.

If a socket is closed while octets of the peer are unread, the kernel resets the connection, and the
peer may lose octets that it has not read yet. So our side of TCP ends first, and octets that still
arrive are read and thrown away, for a limited time and up to a limited number.
"""

from __future__ import annotations

from functools import partial

from ..net.timers import Timer
from ..net.transports import abort_connection, unacknowledged
from ..private.of_twisted import has_sent_all
from .owner import ClosingOwner
from .reading import READ_OCTETS, Reader
from .sending import SendQueue

OCTETS_AFTER_REFUSAL = 64 * 1024
"""Octets to throw away after a request was answered with another status than 101.

An honest client stops when it reads the answer.
"""

OCTETS_AFTER_OPEN = 16 * 1024 * 1024
"""Octets to throw away of a connection that was open.

A client that sends too large a message often reads the close frame only after all of it is sent.
"""

_LAST_WORDS_SECONDS = 1.0
"""Seconds in which a peer that sent more may still read the answer or the close frame."""


class Lingering:
    """The end of TCP. Every method gets the connection, so that no reference to it is kept."""

    __slots__ = ("_drop_call", "_queue", "_reader", "_thrown_away", "most_thrown_away")

    def __init__(self, reader: Reader, queue: SendQueue) -> None:
        self._reader = reader
        self._queue = queue
        self._drop_call: Timer | None = None
        #: Octets that may be thrown away.
        self.most_thrown_away = OCTETS_AFTER_OPEN
        self._thrown_away = 0

    def end(self, connection: ClosingOwner, abort: bool, sends_no_more: bool) -> None:
        """End TCP: at once with `abort`, otherwise after all sent octets have left.

        `sends_no_more` is true if the peer has said that it sends nothing more.
        """
        connection.forget_unread()
        transport = connection.transport
        if abort:
            self._queue.forget_gathered()
            abort_connection(transport)
            return
        connection.unregisterProducer()
        self._queue.flush()
        transport.unregisterProducer()
        if sends_no_more and self._ends_now(connection):
            return
        if self._reader.tcp is not None and not sends_no_more:
            transport.loseWriteConnection()
            transport.resumeProducing()
        else:
            transport.loseConnection()
        connection.drop_later()

    def _ends_now(self, connection: ClosingOwner) -> bool:
        """End TCP after the event that is being handled, if all octets have left.

        Returns False if TCP must end by itself.
        """
        tcp = self._reader.tcp
        if tcp is None or tcp is not connection.transport or not has_sent_all(tcp):
            return False
        ends: bool = connection.factory.turns.end(tcp)
        return ends

    def throw_away(self, connection: ClosingOwner, octets: int) -> None:
        """Count octets that arrived after the connection was over."""
        self._thrown_away += octets
        if self._thrown_away + READ_OCTETS > self.most_thrown_away:
            # Unread octets then fill the kernel's buffers, and the peer can send no more.
            connection.transport.pauseProducing()
            if self.most_thrown_away:
                self.most_thrown_away = 0
                self.drop_within(connection, _LAST_WORDS_SECONDS)

    def drop_later(self, connection: ClosingOwner, seconds: float) -> None:
        """End TCP in some seconds, 0 for never, unless there is a deadline already."""
        # Without it, a peer that does not read or never ends its side would keep a descriptor and
        # its buffers for ever.
        if seconds and self._drop_call is None:
            self.drop_within(connection, seconds)

    def drop_within(self, connection: ClosingOwner, seconds: float) -> None:
        """End TCP in some seconds, whatever the deadline was before."""
        self.stop()
        # The timer alone keeps the connection, until it fires or is cancelled.
        drop = partial(_drop, connection)
        self._drop_call = connection.factory._batched_timer.call_later(seconds, drop)

    def stop(self) -> None:
        """Cancel the deadline."""
        if self._drop_call is not None:
            self._drop_call.cancel()
            self._drop_call = None


def _drop(connection: ClosingOwner) -> None:
    octets = unacknowledged(connection.transport)
    if octets:
        connection.log.info(
            "[{who}] dropped: the peer did not take {octets} octets in time",
            who=connection.who,
            octets=octets,
        )
    abort_connection(connection.transport)
