"""Keep messages of clients that wait to be appended to a stream, and their entries. PURE."""

from __future__ import annotations

import sys
from collections import deque
from typing import Protocol

import attrs

from ..log.lines import rfc3339
from ..log.peer import peer_in, user_in

FIELDS = ("number", "connection", "peer", "user", "channel", "payload", "binary", "time")
"""The fields of an entry besides `node` and `service`, in their order."""

BATCH_MESSAGES = 500
BATCH_OCTETS = 1024 * 1024
"""The most messages and octets of a batch. A larger message is a batch of its own."""

_OVERHEAD = 350
"""Octets that a waiting message takes besides its payload and its names, which are those of its
channel, its peer and its user."""

LEAST = _OVERHEAD
"""The least octets that any message takes."""

Entry = tuple[int, str, str, str, str, bytes, int, str]
"""The values of `FIELDS`."""


class InboxSender(Protocol):
    """A connection, as entries name it."""

    id: str
    who: str
    channel: str


def entry(number: int, sender: InboxSender, payload: bytes, is_binary: bool, now: float) -> Entry:
    """Return the values of a message's entry. `now` is in seconds since 1970."""
    peer, user = peer_in(sender.who), user_in(sender.who)
    channel = sender.channel
    if not channel.isascii():
        # Halves of surrogate pairs become "?": Redis's client could not encode them.
        channel = channel.encode(errors="replace").decode()
    return (number, sender.id, peer, user, channel, payload, int(is_binary), rfc3339(now))


def size_of(sender: InboxSender, payload: bytes) -> int:
    """Return how many octets a waiting message takes."""
    # Each message has its own copy of the names. When only payloads and 200 octets were counted,
    # 1.9 MiB stood for 80.9 MiB.
    names = sys.getsizeof(sender.channel) + len(sender.who)
    if user := user_in(sender.who):
        names += sys.getsizeof(user)
    return len(payload) + names + _OVERHEAD


@attrs.frozen
class Room:
    """The most messages and octets that may wait."""

    messages: int
    octets: int


class Waiting:
    """Messages in their order. Each is kept until `appended` is called for it."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._sizes: deque[int] = deque()
        self._octets = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fits(self, room: Room, size: int) -> bool:
        """Return True if a message of `size` octets has room too."""
        return len(self._entries) < room.messages and self._octets + size <= room.octets

    def put(self, sender: InboxSender, payload: bytes, is_binary: bool, now: float) -> None:
        """Keep a message under the next number. `now` is in seconds since 1970."""
        self._number += 1
        self._entries.append(entry(self._number, sender, payload, is_binary, now))
        size = size_of(sender, payload)
        self._sizes.append(size)
        self._octets += size

    def batch(self) -> list[Entry]:
        """Return the next messages to append. They stay here until they are appended."""
        batch: list[Entry] = []
        octets = 0
        for each, size in zip(self._entries, self._sizes, strict=True):
            octets += size
            if len(batch) == BATCH_MESSAGES or (batch and octets > BATCH_OCTETS):
                break
            batch.append(each)
        return batch

    def appended(self, batch: list[Entry]) -> None:
        """Forget the messages of a batch, which are in the stream now."""
        for _ in batch:
            self._entries.popleft()
            self._octets -= self._sizes.popleft()
