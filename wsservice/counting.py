"""What is counted of connections, for whoever watches the service. PURE.

Counting costs next to nothing: each connection counts its own traffic, by the read
and by the write, and is asked for it when somebody wants to know, or when it is over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .policy import CloseCode

LATENCIES = (
    *(0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of what takes time, in seconds."""

REFUSALS = (
    "bad request",
    "denied",
    "failed",
    "no HTTP",
    "no WebSocket",
    "no room",
    "operator",
    "origin",
    "stopping",
    "timed out",
)
"""Why connections are refused: `Refusal.kind`, and what else there is. All are counted from the
start, since what is never there has no rate."""

_NAMED_CODES = {code: str(code) for code in range(1000, 1016)}
"""Close codes that mean something to everybody (RFC 6455, 7.4.1; the IANA registry)."""


class Histogram:
    """How many observations were no more than each of some bounds, in ascending order."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCIES) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        #: The sum of all observations.
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value. A clock that was set back makes it 0, not less."""
        if value < 0:
            value = 0.0
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, as Prometheus has it, and how many were no more; `+Inf` comes last."""
        counted = 0
        buckets: list[tuple[str, float]] = []
        names = [*map(str, self._bounds), "+Inf"]
        for name, count in zip(names, self._counts, strict=True):
            counted += count
            buckets.append((name, float(counted)))
        return buckets


class Traffic(NamedTuple):
    """What passed on a connection: messages, and octets as they are within TLS, if there is any."""

    messages_received: int
    messages_sent: int
    octets_received: int
    octets_sent: int
    queued: int
    """Octets that wait to be sent, with what it takes to keep them."""


def close_label(code: int) -> str:
    """A close code, as it is counted: by the thousand where a peer can choose any of them."""
    named = _NAMED_CODES.get(code)
    if named is not None:
        return named
    return f"{code // 1000}xxx" if 3000 <= code <= 4999 else "other"


class Counts:
    """What is counted of all connections of a server, of those that are over in particular."""

    def __init__(self) -> None:
        #: Connections that were accepted, and those of them whose handshake was done.
        self.accepted = 0
        self.opened = 0
        #: From being accepted to 101, in seconds.
        self.handshakes = Histogram()
        #: Those whose handshake was done, by the code of the close frame that began the end.
        self.closes = Counter({close_label(code): 0 for code in (*CloseCode, 3000, 4000)})
        #: Those that were refused, by why.
        self.refusals: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        # What passed on connections that are over.
        self._messages_received = self._messages_sent = 0
        self._octets_received = self._octets_sent = 0

    @property
    def past(self) -> Traffic:
        """What passed on connections that are over. None of it waits."""
        messages = self._messages_received, self._messages_sent
        return Traffic(*messages, self._octets_received, self._octets_sent, 0)

    def left(self, traffic: Traffic) -> None:
        """A connection is over, on which this passed. What waits there leaves no more."""
        messages_received, messages_sent, octets_received, octets_sent, _ = traffic
        self._messages_received += messages_received
        self._messages_sent += messages_sent
        self._octets_received += octets_received
        self._octets_sent += octets_sent
