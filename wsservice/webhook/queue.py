"""Queue events to send. PURE.

The queue is bounded, in number and in octets. When a bound is passed, the peer with the largest
share loses its oldest event: a peer that causes many or large events drops only its own.
"""

from __future__ import annotations

import heapq
import json
from collections import OrderedDict, deque

import attrs

MOST_EVENTS = 10_000
MOST_OCTETS = 16 * 1024 * 1024
"""The bounds of the queue. Beyond them, the peer with the largest share loses its oldest event."""

BATCH_EVENTS = 500
BATCH_OCTETS = 1024 * 1024
"""The bounds of a batch. An event that is larger than that is a batch by itself."""


@attrs.frozen
class Batch:
    """Events that are sent together. The batch stays the same at each attempt."""

    number: int
    count: int
    body: bytes
    began: float
    """The monotonic time at which the batch was made, in seconds."""


_SLACK = 1000
"""Outdated ranks that are kept at most, besides one for each peer."""

_Rank = tuple[int, int, str]


@attrs.define(eq=False)
class _Peer:
    """The queued events of one peer: their numbers, and their share of the bounds."""

    name: str
    numbers: deque[int] = attrs.field(factory=deque)
    share: int = 0
    kept: _Rank = (1, 0, "")
    """The rank by which the queue finds it, at most the one that it has now."""

    @property
    def rank(self) -> _Rank:
        """The order in which peers lose events: the least rank is first.

        The peer with the largest share loses; among equals, the one with the oldest event.
        """
        return (-self.share, self.numbers[0], self.name)


class EventQueue:
    """Keep events in order, and make batches of them.

    Every batch names its `service`, and the `node` by the name that the admin face of any node
    uses; "" without a cluster.
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
        # The key is the number of the event; numbers ascend.
        self._events: OrderedDict[int, tuple[_Peer, bytes]] = OrderedDict()
        self._last = 0
        self._peers: dict[str, _Peer] = {}
        # A heap with a rank of each peer, its own or a lesser one that it had before. Ranks are
        # renewed when they come up: to renew each at once would cost a search. Others of the same
        # peer are outdated.
        self._ranks: list[_Rank] = []
        self._octets = 0
        self._batches = 0
        #: Events that were dropped.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def has_batch(self) -> bool:
        """True if there are enough events for a full batch."""
        return len(self._events) >= BATCH_EVENTS or self._octets >= BATCH_OCTETS

    def put(self, event: bytes, peer: str = "") -> None:
        """Queue an event of a peer. Over the bounds, drop older events."""
        known = self._peers.get(peer)
        if known is None:
            known = self._peers[peer] = _Peer(peer)
        self._last += 1
        self._events[self._last] = (known, event)
        self._octets += len(event)
        known.numbers.append(self._last)
        known.share += self._share(event)
        if known.rank < known.kept:
            known.kept = known.rank
            heapq.heappush(self._ranks, known.kept)
        while len(self._events) > self._most_events or self._octets > self._most_octets:
            self._remove(self._greediest().numbers[0])
            self.dropped += 1
        if len(self._ranks) > len(self._peers) + _SLACK:
            self._ranks = [each.kept for each in self._peers.values()]
            heapq.heapify(self._ranks)

    def _share(self, event: bytes) -> int:
        """Return the share of an event in both bounds, as a multiple of 1 / (their product)."""
        return len(event) * self._most_events + self._most_octets

    def _greediest(self) -> _Peer:
        """Return the peer with the largest share."""
        while True:
            rank = self._ranks[0]
            peer = self._peers.get(rank[2])
            if peer is None or peer.kept != rank:
                heapq.heappop(self._ranks)
            elif peer.rank == rank:
                return peer
            else:
                peer.kept = peer.rank
                heapq.heapreplace(self._ranks, peer.kept)

    def _remove(self, number: int) -> bytes:
        """Remove the event with this number: the oldest of its peer."""
        peer, event = self._events.pop(number)
        self._octets -= len(event)
        peer.numbers.popleft()
        peer.share -= self._share(event)
        if not peer.numbers:
            del self._peers[peer.name]
        return event

    def take(self, now: float) -> Batch | None:
        """Return the next batch; None if the queue is empty. `now` is monotonic, in seconds."""
        taken: list[bytes] = []
        size = 0
        while self._events and len(taken) < BATCH_EVENTS:
            number = next(iter(self._events))
            size += len(self._events[number][1])
            if taken and size > BATCH_OCTETS:
                break
            taken.append(self._remove(number))
        if not taken:
            return None
        self._batches += 1
        head = f'{{{self._from},"dropped":{self.dropped},"events":['
        body = head.encode() + b",".join(taken) + b"]}"
        return Batch(self._batches, len(taken), body, now)

    def forget(self) -> int:
        """Drop all events. Return how many there were."""
        count = len(self._events)
        self._events.clear()
        self._peers.clear()
        self._ranks.clear()
        self._octets = 0
        self.dropped += count
        return count
