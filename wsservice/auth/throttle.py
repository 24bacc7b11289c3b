"""Slow down an address that shows bad credentials. PURE.

Each address has a bucket of failures, which drains. The store is bounded: the address whose last
failure is longest ago is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MOST_ADDRESSES = 10_000
"""The most addresses that are remembered: some 2 MB."""

SECONDS_EACH = 5.0
"""Seconds after which one failure is forgiven."""

_NONE_SECONDS = 1e-6
"""Seconds of a wait that is none: sums of floating-point numbers lose that much."""


class Throttle:
    """Counts the bad credentials of each address.

    `most` is how many an address may show at once, 0 for any number. `seconds` is a monotonic
    clock. `most_addresses` is how many addresses are remembered.
    """

    def __init__(
        self, most: int, seconds: Callable[[], float], most_addresses: int = MOST_ADDRESSES
    ) -> None:
        #: The most failures of an address.
        self.most = most
        self._seconds = seconds
        self._most_addresses = most_addresses
        # The failures of an address that are not forgiven yet, and when they were counted.
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._failures)

    def wait(self, address: str | None) -> float:
        """Return for how many seconds an address must not try again; 0 if it may try now."""
        if not self.most or address is None or address not in self._failures:
            return 0.0
        level = self._level(address)
        if not level:
            del self._failures[address]
        # One attempt must fit below the limit.
        wait = (level - (self.most - 1)) * SECONDS_EACH
        return wait if wait > _NONE_SECONDS else 0.0

    def failed(self, address: str | None) -> None:
        """Count a failure of an address, None for a client without one, such as on a socket."""
        if not self.most or address is None:
            return
        level = self._level(address) + 1 if address in self._failures else 1.0
        self._failures[address] = (level, self._seconds())
        self._failures.move_to_end(address)
        if len(self._failures) > self._most_addresses:
            self._failures.popitem(last=False)

    def _level(self, address: str) -> float:
        level, since = self._failures[address]
        return max(0.0, level - (self._seconds() - since) / SECONDS_EACH)
