"""How many may connect, how fast one address may, and the refusals of the others. PURE."""

from __future__ import annotations

import enum
import ipaddress
import sys
import time
from collections.abc import Callable

import attrs

from ..config.rates import ADDRESS, Rate
from ..http.refusal import Refusal
from .rates.connects import ConnectRate, Notes, too_soon

RETRY_AFTER = 10
"""Seconds to wait before the next attempt, told to clients that were refused at the limit."""

LATER = (("Retry-After", str(RETRY_AFTER)),)
COME_AGAIN = f"try again in {RETRY_AFTER} seconds"
NO_ROOM = Refusal(
    503,
    "there are too many connections",
    COME_AGAIN,
    headers=LATER,
    kind="no room",
    for_operator="--max-connections, --max-connections-per-ip and the limit on open files say"
    " how many there may be",
)
STOPPING = Refusal(503, "the service is stopping", COME_AGAIN, headers=LATER, kind="stopping")
CLOSED_BY_OPERATOR = Refusal(
    503, "an operator closed the connection", COME_AGAIN, headers=LATER, kind="operator"
)


class Verdict(enum.Enum):
    """The decision on a new connection."""

    ADMITTED = enum.auto()
    REFUSED = enum.auto()
    """Answer 503 to its request."""
    DROPPED = enum.auto()
    """Drop it without an answer: too many others wait for theirs."""
    TOO_SOON = enum.auto()
    """Answer 429 to its request: its address connects too often."""
    GONE = enum.auto()


_TO_BE_ANSWERED = (Verdict.REFUSED, Verdict.TOO_SOON)


@attrs.define(eq=False)
class Admission:
    """The record of one connection in `ConnectionLimits`."""

    verdict: Verdict
    address: str | None = None


class ConnectionLimits:
    """Counts connections, in all and by address, and admits or refuses each new one.

    `most` is the limit in all, `most_per_address` that of one IPv4 address or one IPv6 network
    of 64 bits; 0 is no limit. Up to `most_refused` refused connections may wait for their
    answer; they do not count as connections. `seconds` is a monotonic clock.
    """

    _first_reserved = sys.maxsize

    def __init__(
        self,
        most: int,
        most_per_address: int = 0,
        most_refused: int = 256,
        seconds: Callable[[], float] = time.monotonic,
        notes: Notes | None = None,
    ) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._most_refused = most_refused
        self._admitted = 0
        self._refused = 0
        self._by_address: dict[str, int] = {}
        #: How fast each address may connect, None for no limit.
        self.rate: ConnectRate | None = None
        self._too_soon = too_soon(ADDRESS, None)
        self._seconds = seconds
        #: Learns of addresses that connect too often. `pace` needs it.
        self.notes = notes

    def change(self, most: int, most_per_address: int) -> None:
        """Set the limits for new connections. Open ones stay."""
        self._most = most
        self._most_per_address = most_per_address

    def pace(self, rate: Rate | None, dry_run: bool = False) -> None:
        """Set how fast each address may connect; None for no limit."""
        self._too_soon = too_soon(ADDRESS, rate)
        if rate is None or self.notes is None:
            self.rate = None
            return
        if self.rate is None:
            self.rate = ConnectRate(ADDRESS, self._seconds, self.notes)
        self.rate.change(rate, dry_run)

    def reserve(self, first: int, most_refused: int) -> None:
        """Refuse connections whose descriptor is `first` or higher. Lower `most_refused`."""
        self._first_reserved = first
        self._most_refused = min(self._most_refused, most_refused)

    @property
    def full(self) -> bool:
        """Return True if no more connections are admitted."""
        return 0 < self._most <= self._admitted

    @property
    def first_reserved(self) -> int:
        """Return the first descriptor that no connection may have."""
        return self._first_reserved

    def arrive(self, address: str | None = None, descriptor: int = 0) -> Admission:
        """Count a new connection and decide on it. `address` is its IP, None if not known yet."""
        if self.full or descriptor >= self._first_reserved:
            return Admission(self._turn_away())
        self._admitted += 1
        admission = Admission(Verdict.ADMITTED)
        self.identify(admission, address)
        return admission

    def identify(self, admission: Admission, address: str | None) -> None:
        """Set the IP address of a connection, None if it has none. Only the first call counts."""
        counts = self._most_per_address
        if not counts and self.rate is None:
            return
        if admission.address is not None or address is None:
            return
        if admission.verdict is not Verdict.ADMITTED:
            return
        key = address_key(address)
        if self.rate is not None and not self.rate.admits(key):
            self._admitted -= 1
            admission.verdict = self._turn_away(Verdict.TOO_SOON)
            return
        count = self._by_address.get(key, 0)
        if 0 < counts <= count:
            self._admitted -= 1
            admission.verdict = self._turn_away()
            return
        self._by_address[key] = count + 1
        admission.address = key

    def leave(self, admission: Admission) -> None:
        """Forget a connection that is over. Idempotent."""
        if admission.verdict is Verdict.ADMITTED:
            self._admitted -= 1
        elif admission.verdict in _TO_BE_ANSWERED:
            self._refused -= 1
        admission.verdict = Verdict.GONE
        if admission.address is not None:
            self._by_address[admission.address] -= 1
            if not self._by_address[admission.address]:
                del self._by_address[admission.address]
            admission.address = None

    def refusal(self, admission: Admission) -> Refusal | None:
        """Return the answer to a connection that was refused, None for another one."""
        if admission.verdict is Verdict.REFUSED:
            return NO_ROOM
        return self._too_soon if admission.verdict is Verdict.TOO_SOON else None

    def _turn_away(self, verdict: Verdict = Verdict.REFUSED) -> Verdict:
        if self._refused >= self._most_refused:
            return Verdict.DROPPED
        self._refused += 1
        return verdict


def address_key(address: str) -> str:
    """Return the key by which an address is counted.

    It is an IPv4 address itself, also when mapped into IPv6, and the /64 network of an IPv6
    address. Text that is not an IP address, which a balancer may pass on, is its own key.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
