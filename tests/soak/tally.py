"""The counts of acts, and of those that failed. PURE."""

from __future__ import annotations

from collections import Counter

import attrs

from .schedule import HOSTILE

_KEPT = 50
"""Failures that are kept in words."""


@attrs.frozen
class Failure:
    """An act that did not go as it must, at a time in seconds since the load began."""

    at: float
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:.1f} s, {self.kind}: {self.what}"


class Tally:
    """Counts of acts that are over, by kind, and the failures among them."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        #: Clients that the service gave up because its memory for messages was full.
        self.given_up = 0
        #: Callers of the admin face that were let go while silent connections filled it.
        self.let_go = 0
        #: Acts that failed while the load itself stood still.
        self.stood_still = 0
        #: Acts that were not begun, since the machine had no time for them.
        self.left_out = 0
        #: HTTP answers of a status from 500 on.
        self.server_errors = 0
        self.failures: list[Failure] = []
        self._stood_still_until = -1.0

    def stands_still(self, until: float) -> None:
        """Note that the process of the load has stood still until now, for want of time."""
        self._stood_still_until = until

    def fail(self, begun: float, at: float, kind: str, what: str) -> Failure | None:
        """Count an act that began at one time and failed at another.

        Return the failure if it is one of the first, which are kept in words. An act during which
        the load stood still is another count: a client that does nothing is shut out rightly.
        """
        if self._stood_still_until >= begun:
            self.stood_still += 1
            return None
        self.failed[kind] += 1
        if len(self.failures) >= _KEPT:
            return None
        failure = Failure(round(at, 2), kind, what)
        self.failures.append(failure)
        return failure

    @property
    def honest(self) -> int:
        """How many honest acts are over."""
        return sum(count for kind, count in self.done.items() if kind not in HOSTILE)

    @property
    def hostile(self) -> int:
        """How many hostile acts are over."""
        return sum(count for kind, count in self.done.items() if kind in HOSTILE)

    @property
    def failures_so_far(self) -> int:
        """How many acts failed."""
        return sum(self.failed.values())
