"""Messages of clients that wait to be in a stream, and what each is there. PURE."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs

from ..lines import rfc3339

FIELDS = ("number", "connection", "peer", "user", "channel", "payload", "binary", "time")
"""What is said of each message, besides the `node`, in this order."""

BATCH_MESSAGES = 500
BATCH_OCTETS = 1024 * 1024
"""So much is appended at once at most; a message that is larger is appended alone."""

_OVERHEAD = 200
"""Octets that a message takes beside its payload, some."""

Entry = tuple[int, str, str, str, str, bytes, int, str]
"""The values of `FIELDS`."""


class Sender(Protocol):
    """What is told of a connection."""

    id: str
    who: str
    channel: str


def entry(number: int, sender: Sender, payload: bytes, is_binary: bool, now: float) -> Entry:
    """What a message is in the stream."""
    peer = sender.who.partition(" ")[2]
    # There is nobody who could be a user yet.
    user = ""
    channel = sender.channel.encode(errors="replace").decode()
    return (number, sender.id, peer, user, channel, payload, int(is_binary), rfc3339(now))


@attrs.frozen
class Room:
    """How much may wait."""

    messages: int
    octets: int


class Waiting:
    """Messages in their order, each of which is kept until it is said to be appended."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._octets = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fits(self, room: Room, size: int) -> bool:
        """Whether a message with so many octets may wait too."""
        octets = self._octets + size + _OVERHEAD
        return len(self._entries) < room.messages and octets <= room.octets

    def put(self, sender: Sender, payload: bytes, is_binary: bool, now: float) -> None:
        """Keep a message, with the next number."""
        self._number += 1
        self._entries.append(entry(self._number, sender, payload, is_binary, now))
        self._octets += len(payload) + _OVERHEAD

    def batch(self) -> list[Entry]:
        """The next to be appended; they wait all the same."""
        batch: list[Entry] = []
        size = 0
        for each in self._entries:
            size += len(each[5]) + _OVERHEAD
            if len(batch) == BATCH_MESSAGES or (batch and size > BATCH_OCTETS):
                break
            batch.append(each)
        return batch

    def appended(self, batch: list[Entry]) -> None:
        """The first of them are in the stream."""
        for _ in batch:
            self._octets -= len(self._entries.popleft()[5]) + _OVERHEAD
