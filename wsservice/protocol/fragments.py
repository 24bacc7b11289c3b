"""Hold a message that Autobahn reads frame by frame to the limits at every octet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config.close_codes import CloseCode
from .common import Common
from .compression import TooManyBlocksError, most_compressed
from .owner import Owner

TOO_BIG = "message too big"


class Fragments:
    """The frames of one message. With `compressed` they are inflated one by one."""

    __slots__ = ("_common", "_compressed", "_connection", "_count", "_size")

    def __init__(self, connection: Owner, common: Common, compressed: bool) -> None:
        self._connection = connection
        self._common = common
        self._compressed = compressed
        self._count = 0
        self._size = 0

    def begin(self, length: int) -> None:
        """Begin a frame with a payload of some octets."""
        connection, limits = self._connection, self._common.limits
        # The last one does no harm, and the testsuite ends 65,536 with an empty one.
        self._count += not connection.current_frame.fin
        if 0 < limits.max_fragments < self._count:
            connection.fail_connection(CloseCode.POLICY_VIOLATION, "too many fragments")
        total = connection.message_data_total_length
        if self._compressed:
            self._size += length
            if 0 < most_compressed(limits.max_message_size) < self._size:
                connection.fail_connection(CloseCode.TOO_BIG, TOO_BIG)
        elif 0 < limits.max_message_size < total + length:
            connection.fail_connection(CloseCode.TOO_BIG, TOO_BIG)
        # Autobahn would count a compressed frame before it is inflated, and refuse a
        # message within the limit that compression made longer.
        connection.message_data_total_length = total - length
        connection.onMessageFrameBegin(length)
        connection.message_data_total_length = total if self._compressed else total + length

    def take(self, payload: bytes, by_autobahn: Callable[[bytes], Any]) -> Any:
        """Take a part of a frame, still compressed if its message is.

        `by_autobahn` inflates and keeps it.
        """
        connection = self._connection
        if self._compressed:
            # Autobahn subtracts this again: it means to have counted this part before.
            connection.message_data_total_length += len(payload)
        try:
            result = by_autobahn(payload)
        except TooManyBlocksError as error:
            connection.fail_connection(CloseCode.POLICY_VIOLATION, str(error))
            return False
        parts = connection.frame_data
        if self._common.by_codec and parts and len(parts) > 1:
            # Many parts of some octets each would take many times their memory.
            if not isinstance(parts[0], bytearray):
                parts[0] = bytearray(parts[0])
            parts[0] += parts.pop()
        if 0 < self._common.limits.max_message_size < connection.message_data_total_length:
            connection.fail_connection(CloseCode.TOO_BIG, TOO_BIG)
        return result
