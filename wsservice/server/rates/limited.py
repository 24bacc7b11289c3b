"""Count the limits that took effect, and log each party that is limited."""

from __future__ import annotations

from collections.abc import Callable

from ...config.rates import CONNECTING_PARTIES, PARTIES, Rate
from ...log.peer import PeerLogger
from .bucket import TokenBucket

LIMITS = (
    *(f"connects by {party}" for party in CONNECTING_PARTIES),
    *(f"messages by {party}" for party in PARTIES),
    *(f"octets by {party}" for party in PARTIES),
)
"""All limits, by the names under which they are counted."""

_AGAIN_SECONDS = 60.0
"""Seconds after which a party is logged again."""

_LINES = Rate(1, 1.0, 20)
"""The lines about all parties. An attacker may have many addresses."""

_log = PeerLogger(namespace="wsservice")


class Limited:
    """The counts of limits that took effect. `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._lines = TokenBucket(_LINES)
        self._left_out = 0
        #: How often each limit took effect, by its name.
        self.counts = dict.fromkeys(LIMITS, 0)

    def note(self, limit: str, who: str, bucket: TokenBucket, becomes: str) -> None:
        """Count that a limit took effect; log it unless it was logged for the party lately.

        `who` is the party, `bucket` its own, `becomes` says in words what happens; "" where
        another line does.
        """
        self.counts[limit] += 1
        now = self._seconds()
        if not becomes or now - bucket.logged_at < _AGAIN_SECONDS:
            return
        bucket.logged_at = now
        if not self._lines.has(1, now):
            self._left_out += 1
            return
        self._lines.take(1, now)
        what, _, party = limit.partition(" by ")
        more = f"; {self._left_out} other lines were left out" if self._left_out else ""
        self._left_out = 0
        _log.info(
            "[{who}] is over --limit-{what} {party}={rate}: {becomes}{more}",
            who=who,
            what=what,
            party=party,
            rate=str(bucket.rate),
            becomes=becomes,
            more=more,
        )
