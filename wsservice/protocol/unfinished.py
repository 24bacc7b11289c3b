"""Watch messages that have begun and are not whole: their age, and their memory.

A message that is whole within one read never comes here, so most messages cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..config.close_codes import CloseCode
from ..net.timers import Timer
from .budget import MESSAGE, QUEUE, STEP_OCTETS, Budget
from .common import Common
from .owner import Hold, Owner
from .sending import SendQueue

_LOOKS = 30
"""The most looks at an unfinished message within `--message-timeout`: it may end 1/30 too late."""

_SELDOM, _OFTEN = 2.0, 0.01
"""Seconds between two looks: at most (also for the memory), and at least."""

_LAST_WORDS_SECONDS = 1.0
"""Seconds that a peer has to read why its connection was closed for lack of memory."""


class KeptOctets(Protocol):
    """A `Reader`, as the watch on its unfinished message sees it."""

    holds: int
    kept: int
    unread: bytes
    partial: Any
    octets_received: int
    messages_received: int
    unfinished: Unfinished | None


class Unfinished:
    """The memory and the age of a connection's unfinished message.

    It is made when a read ends within a message, or when the transport says stop, and forgotten
    when a `Watch` finds nothing left.
    """

    __slots__ = ("_common", "_connection", "_queue", "_reader", "accounted")

    def __init__(
        self, connection: Owner, reader: KeptOctets, queue: SendQueue, common: Common
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._queue = queue
        self._common = common
        #: Octets that the budget counts for this connection.
        self.accounted = 0

    @property
    def message_timeout(self) -> float:
        """Seconds that a message may take, 0 for any time."""
        return self._common.limits.message_timeout

    @property
    def octets(self) -> int:
        """The octets of the message so far."""
        return self._reader.kept + len(self._reader.unread)

    @property
    def message(self) -> object:
        """A value that stays the same while the same message is unfinished, or None.

        A control frame that is not whole counts too, if no message is around it.
        """
        connection, reader = self._connection, self._reader
        if reader.kept or reader.partial is not None or connection.inside_message:
            return reader.messages_received
        if connection.current_frame is not None:
            frame: object = connection.current_frame
            return frame
        if not reader.unread:
            return None
        if reader.unread[0] & 0x08:
            # The frame's position in all received octets, negative to differ from any count.
            return len(reader.unread) - reader.octets_received
        return reader.messages_received

    def grew(self, sending: bool) -> None:
        """Count memory that may have grown. `sending` is true if the transport said stop.

        Only growth is counted here, in steps of 4 KiB, since the same connection soon holds the
        same again. Freed memory is noticed later.
        """
        octets = self.octets + self._queue.in_transport
        if octets < self.accounted + STEP_OCTETS and self.accounted:
            return
        factory = self._connection.factory
        budget: Budget = factory.budget
        self.accounted = octets
        budget.account(self, octets)
        if budget.is_exceeded:
            # A transport says stop in the middle of a write, during which no connection may close.
            factory.make_room_soon() if sending else budget.make_room()

    def over(self) -> None:
        """Stop counting, since the message will not become whole."""
        self._reader.unfinished = None
        self._connection.factory.unfinished.remove(self)
        self.account_anew()

    def whole(self) -> None:
        """Stop counting, since nothing is left."""
        self._reader.unfinished = None

    @property
    def waits_for_peer(self) -> bool:
        """True if an unfinished message waits for the peer, and not for us to read."""
        return not self._reader.holds & ~Hold.SLICE

    def time_out(self) -> None:
        """Close the connection with 1008, since its message was not whole in time."""
        self._connection.factory.message_timeouts += 1
        seconds = self.message_timeout
        self._connection.fail_connection(
            CloseCode.POLICY_VIOLATION, f"a message was not whole within {seconds:g} s"
        )

    # The methods of `budget.Holder`

    def holds(self) -> int:
        """Return the octets that the connection holds, with those that wait to be sent."""
        return self.octets + self._queue.octets

    def account_anew(self) -> int:
        """Count the octets that the connection holds now, without queued frames; return them."""
        octets = 0
        if not self._reader.holds & Hold.OVER:
            octets = self.octets + self._queue.in_transport
        if octets != self.accounted:
            self.accounted = octets
            self._connection.factory.budget.account(self, octets)
        return octets

    def give_up_memory(self) -> str:
        """Free the connection's memory, since all connections hold too much."""
        # The larger part goes: queued frames, or the unfinished message with its connection.
        limits = self._common.limits
        queued = self._queue.octets
        if self.holds() - queued >= queued:
            whose = self.waits_for_peer
            code = CloseCode.POLICY_VIOLATION if whose else limits.overload_code
            self._close_for_memory(code, "unfinished messages")
            return MESSAGE
        dropped = self._queue.drop_messages()
        self._connection.factory.slow_messages += dropped
        if limits.slow_client == "close" or self._connection.keeps_context or not dropped:
            self._close_for_memory(limits.overload_code, "messages that wait to be read")
        return QUEUE

    def _close_for_memory(self, code: int, of_what: str) -> None:
        self._connection.fail_connection(code, f"too much memory is taken by {of_what}")
        if self._queue.paused:
            self._connection.drop_within(_LAST_WORDS_SECONDS)


class Watch:
    """Looks at unfinished messages from time to time, and closes connections that take too long.

    Time in which a connection is not read does not count against its peer.
    """

    def __init__(self, factory: Any, seconds: Callable[[], float]) -> None:
        self._factory = factory
        self._seconds = seconds
        self._watched: dict[Unfinished, tuple[object, float]] = {}
        self._looked_at = 0.0
        self._call: Timer | None = None

    def add(self, connection: Unfinished) -> None:
        """Watch a connection with an unfinished message, until it holds nothing."""
        if self._call is None:
            self._look_later(connection)
        self._watched[connection] = (connection.message, 0.0)

    def remove(self, connection: Unfinished) -> None:
        """Stop watching a connection that is over."""
        self._watched.pop(connection, None)
        if not self._watched and self._call is not None:
            self._call.cancel()
            self._call = None

    def _look_later(self, connection: Unfinished) -> None:
        self._looked_at = self._seconds()
        timeout = connection.message_timeout
        delay = min(_SELDOM, max(_OFTEN, timeout / _LOOKS)) if timeout else _SELDOM
        self._call = self._factory._batched_timer.call_later(delay, self._look)

    def _look(self) -> None:
        self._call = None
        passed = self._seconds() - self._looked_at
        for connection in list(self._watched):
            if connection in self._watched:  # closing one may have closed others
                self._look_at(connection, passed)
        self._factory.budget.make_room()
        if self._watched and self._call is None:
            self._look_later(next(iter(self._watched)))

    def _look_at(self, connection: Unfinished, passed: float) -> None:
        before, age = self._watched[connection]
        message = connection.message
        if not connection.account_anew() and message is None:
            connection.whole()
            del self._watched[connection]
            return
        if message != before:
            age = 0.0
            self._factory.budget.begin_anew(connection)
        elif message is not None and connection.waits_for_peer:
            age += passed
        self._watched[connection] = (message, age)
        timeout = connection.message_timeout
        if 0 < timeout <= age:
            connection.time_out()
