"""Decide what follows when the peer of a connection reads slowly."""

from __future__ import annotations

from typing import Any

from .common import Common
from .owner import Owner
from .sending import SendQueue


class Slowness:
    """Pauses a producer while the peer reads slowly, and leaves messages out.

    It is made when it is first needed. Methods that need the connection get it, so that no
    reference to it is kept.
    """

    __slots__ = ("_is_paused", "_left_out", "_producer")

    def __init__(self) -> None:
        self._producer: Any = None
        self._is_paused = False
        self._left_out = False

    def set_producer(self, producer: Any) -> None:
        """Pause another producer from now on, None for no one."""
        self._producer = producer
        if producer is None:
            self._is_paused = False

    def pause(self) -> None:
        """Pause the producer. Idempotent."""
        if self._producer is not None and not self._is_paused:
            self._is_paused = True
            self._producer.pauseProducing()

    def resume(self) -> None:
        """Have the producer go on, if it was paused."""
        if self._is_paused:
            self._is_paused = False
            self._producer.resumeProducing()

    def make_room(self, connection: Owner, queue: SendQueue, common: Common, size: int) -> bool:
        """Close the connection of a slow peer, or leave messages out, as `--slow-client` says.

        `size` is the octets that are to be queued. Returns True if there is room for them now.
        """
        # If messages refer to earlier ones, none can be left out. Such a connection was opened
        # before a reload changed the setting to "drop".
        drop = common.limits.slow_client == "drop" and not connection.keeps_context
        dropped = queue.drop_messages(size if drop else None)
        connection.factory.slow_messages += dropped if drop else dropped + 1
        self._act(connection, common, drop)
        return drop

    def left_behind(self, connection: Owner, common: Common, count: int) -> None:
        """Close the connection, or note that `count` messages were left out before it got them."""
        connection.factory.slow_messages += count
        # The messages were never compressed for it, so none of them is missed by a compressor.
        self._act(connection, common, common.limits.slow_client == "drop")

    def _act(self, connection: Owner, common: Common, drop: bool) -> None:
        factory = connection.factory
        if drop:
            # One line for each connection: a slow one loses messages by the thousand.
            factory.slow_dropped += 1
            if not self._left_out:
                self._left_out = True
                connection.log.info(
                    "[{who}] reads too slowly: its oldest messages are left out",
                    who=connection.who,
                )
        else:
            factory.slow_closed += 1
            connection.fail_connection(common.limits.overload_code, "reads too slowly")
