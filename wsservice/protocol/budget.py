"""Limit the memory of unfinished messages and send queues, of all connections together. PURE.

Each connection has limits of its own (`--max-message-size`, `--send-buffer`). Ten thousand
connections that each stay within theirs could still take more memory than a machine has.

See docs/decisions/memory-budget.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

STEP_OCTETS = 4 * 1024
"""Octets by which a connection's memory must grow before it is counted again.

Counting each message of 64 KiB took 3 microseconds more.
"""

MESSAGE, QUEUE = "message", "send queue"
"""The kinds of memory that a connection gives up: the kind of which it held more."""


class Holder(Protocol):
    """A connection that holds memory."""

    def holds(self) -> int:
        """Return how many octets it holds in all."""

    def account_anew(self) -> int:
        """Call `Budget.account` with the octets that it holds now, and return them."""

    def give_up_memory(self) -> str:
        """Free the memory, and return its kind, `MESSAGE` or `QUEUE`. Raises nothing."""


class Budget:
    """Counts the memory of connections, and makes some of them free it if it is too much.

    `limit` is how many octets all may hold, 0 for any number. It may be changed at any time.
    `seconds` is a monotonic clock.
    """

    __slots__ = ("_frames", "_holders", "_making_room", "_seconds", "given_up", "limit", "octets")

    def __init__(self, limit: int, seconds: Callable[[], float]) -> None:
        self.limit = limit
        self._seconds = seconds
        self._holders: dict[Holder, tuple[int, float]] = {}
        # By identity: equal frames that are different objects take memory twice. The queues keep
        # a frame alive, so no other object gets its identity meanwhile.
        self._frames: dict[int, int] = {}
        # To give memory up can send a close frame, which may ask for room again.
        self._making_room = False
        #: Octets that are held now.
        self.octets = 0
        #: How often a connection gave memory up, by kind.
        self.given_up = Counter({MESSAGE: 0, QUEUE: 0})

    @property
    def is_exceeded(self) -> bool:
        """True if connections hold more than the limit."""
        return 0 < self.limit < self.octets

    def account(self, holder: Holder, octets: int) -> None:
        """Set the octets that a connection holds, without frames that were entered.

        With 0 the connection is forgotten. A connection need not tell when it frees memory:
        `account_anew` finds that out before any connection has to give memory up.
        """
        before, since = self._holders.get(holder, (0, 0.0))
        self.octets += octets - before
        if octets:
            self._holders[holder] = (octets, since if before else self._seconds())
        elif before:
            del self._holders[holder]

    def begin_anew(self, holder: Holder) -> None:
        """Count a connection's seconds from now on, since it holds another message than before."""
        if holder in self._holders:
            self._holders[holder] = (self._holders[holder][0], self._seconds())

    def enter(self, frame: bytes, overhead: int) -> None:
        """Count a frame that waits to be sent, and `overhead` octets for its place in the queue.

        A frame that waits in many queues counts once, its overhead for each queue.
        """
        count = self._frames.get(id(frame), 0)
        self._frames[id(frame)] = count + 1
        self.octets += overhead if count else overhead + len(frame)

    def leave(self, frame: bytes, overhead: int) -> None:
        """Stop counting a frame in one of the queues for which it was entered."""
        count = self._frames.pop(id(frame)) - 1
        if count:
            self._frames[id(frame)] = count
        self.octets -= overhead if count else overhead + len(frame)

    def account_anew(self) -> None:
        """Ask each connection for the memory that it holds now."""
        for holder in list(self._holders):
            holder.account_anew()

    def make_room(self) -> None:
        """Make connections give memory up while all hold too much.

        The order is that of octets times seconds. So a message that was left unfinished goes before
        one that is just arriving, and a large message before a small one.
        """
        if self._making_room or not self.is_exceeded:
            return
        self._making_room = True
        try:
            self._make_room()
        finally:
            self._making_room = False

    def _make_room(self) -> None:
        self.account_anew()
        # A 256th stays free, so that the next frame does not look through all connections again.
        enough = self.limit - self.limit // 256
        if self.octets <= enough:
            return
        now = self._seconds()

        def rank(entry: tuple[Holder, tuple[int, float]]) -> float:
            holder, (_, since) = entry
            return holder.holds() * (1.0 + now - since)

        for holder, _ in sorted(self._holders.items(), key=rank, reverse=True):
            if self.octets <= enough:
                return
            self.given_up[holder.give_up_memory()] += 1
