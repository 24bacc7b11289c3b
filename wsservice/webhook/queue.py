"""Events that wait to be sent. PURE."""

from __future__ import annotations

import json
from collections import deque

import attrs

MOST_EVENTS = 10_000
MOST_OCTETS = 16 * 1024 * 1024
"""So much waits at most; beyond it, the oldest are left out."""

BATCH_EVENTS = 500
BATCH_OCTETS = 1024 * 1024
"""So much is in a batch at most; an event that is larger is in one of its own."""


@attrs.frozen
class Batch:
    """Events that are sent together, as often as it takes, without a change."""

    number: int
    count: int
    body: bytes
    began: float
    """When it was made."""


class EventQueue:
    """Keeps events in their order, and makes batches of them.

    `service` is what all batches say they are from, and `node` by what name the admin face of
    any node knows of it, "" where there is one alone.
    """

    def __init__(
        self,
        service: str,
        most_events: int = MOST_EVENTS,
        most_octets: int = MOST_OCTETS,
        node: str = "",
    ) -> None:
        self._from = f'"service":{json.dumps(service)}'
        if node:
            self._from += f',"node":{json.dumps(node)}'
        self._most_events = most_events
        self._most_octets = most_octets
        self._events: deque[bytes] = deque()
        self._octets = 0
        self._batches = 0
        #: Events that nobody was told of.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def has_batch(self) -> bool:
        """Whether there is enough for a whole batch."""
        return len(self._events) >= BATCH_EVENTS or self._octets >= BATCH_OCTETS

    def put(self, event: bytes) -> None:
        """Keep an event, if need be in the place of older ones."""
        self._events.append(event)
        self._octets += len(event)
        while len(self._events) > self._most_events or self._octets > self._most_octets:
            self._octets -= len(self._events.popleft())
            self.dropped += 1

    def take(self, now: float) -> Batch | None:
        """The next batch, None where nothing waits."""
        taken: list[bytes] = []
        size = 0
        while self._events and len(taken) < BATCH_EVENTS:
            size += len(self._events[0])
            if taken and size > BATCH_OCTETS:
                break
            taken.append(self._events.popleft())
            self._octets -= len(taken[-1])
        if not taken:
            return None
        self._batches += 1
        head = f'{{{self._from},"dropped":{self.dropped},"events":['
        body = head.encode() + b",".join(taken) + b"]}"
        return Batch(self._batches, len(taken), body, now)

    def forget(self) -> int:
        """Keep none of them: how many there were."""
        count = len(self._events)
        self._events.clear()
        self._octets = 0
        self.dropped += count
        return count
