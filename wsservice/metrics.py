"""Counters and histograms of connections, for the metrics of the service. PURE.

Counting is cheap: each connection counts its own traffic, once per read and once per write.
The service collects these counts when a reader asks for them, or when the connection is over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .config.close_codes import CloseCode

LATENCIES = (
    *(0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the buckets of a histogram of durations, in seconds."""

NO_PROXY_HEADER = "no PROXY header"

IDENTITY_REFUSALS = (
    "auth away",
    "bad credential",
    "expired credential",
    "forbidden",
    "no credential",
    "too many failures",
)
"""The reasons for refusing a connection for its credential, or for want of one."""

REFUSALS = (
    *IDENTITY_REFUSALS,
    "bad request",
    "denied",
    "failed",
    "no HTTP",
    NO_PROXY_HEADER,
    "no WebSocket",
    "no room",
    "operator",
    "origin",
    "stopping",
    "timed out",
)
"""The reasons for refusing a connection: `Refusal.kind`, and those without a `Refusal`. Each has
a counter from the start, since Prometheus computes no rate for a series that is missing."""

_NAMED_CODES = {code: str(code) for code in range(1000, 1016)}
"""The labels of close codes with a registered meaning (RFC 6455, 7.4.1; the IANA registry)."""


class Histogram:
    """A count of observations at or below each of some bounds, which ascend."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCIES) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        #: The sum of all observations.
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value. A negative value, from a clock that was set back, counts as 0."""
        if value < 0:
            value = 0.0
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def state(self) -> list[float]:
        """Return the state as numbers, from which `of` makes a copy."""
        return [self.total, *self._counts]

    @classmethod
    def of(cls, state: Sequence[float], bounds: Sequence[float] = LATENCIES) -> Histogram:
        """Return a histogram from a `state`, or from the sum of several states."""
        made = cls(bounds)
        if len(state) == len(made._counts) + 1:
            made.total = state[0]
            made._counts = [int(each) for each in state[1:]]
        return made

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound as Prometheus writes it, with its count; `+Inf` comes last."""
        counted = 0
        buckets: list[tuple[str, float]] = []
        names = [*map(str, self._bounds), "+Inf"]
        for name, count in zip(names, self._counts, strict=True):
            counted += count
            buckets.append((name, float(counted)))
        return buckets


class Traffic(NamedTuple):
    """The traffic of a connection: messages, and octets, counted within TLS."""

    messages_received: int
    messages_sent: int
    octets_received: int
    octets_sent: int
    queued: int
    """Octets that wait to be sent, with the overhead of keeping them."""


class ChannelSizes:
    """The channels by their number of connections, kept up to date at each change.

    A change, and the answer, take the same time however many channels peers make up.
    """

    __slots__ = ("_channels_of", "channels", "largest")

    def __init__(self) -> None:
        # The number of channels, by the number of their connections.
        self._channels_of: dict[int, int] = {}
        #: The number of channels with a connection.
        self.channels = 0
        #: The number of connections on the channel that has the most.
        self.largest = 0

    def grew(self, channel: str, count: int) -> None:
        """Count a connection that joined a channel; `count` are on it now."""
        if count > 1:
            self._take(count - 1)
        else:
            self.channels += 1
        self._channels_of[count] = self._channels_of.get(count, 0) + 1
        if count > self.largest:
            self.largest = count

    def shrank(self, channel: str, count: int) -> None:
        """Count a connection that left a channel; `count` are on it now."""
        self._take(count + 1)
        if count:
            self._channels_of[count] = self._channels_of.get(count, 0) + 1
        else:
            self.channels -= 1
        if count + 1 == self.largest and count + 1 not in self._channels_of:
            self.largest = count

    def _take(self, count: int) -> None:
        left = self._channels_of[count] - 1
        if left:
            self._channels_of[count] = left
        else:
            del self._channels_of[count]


PING_TIMEOUT = "ping timeout"
"""The label of connections that ended without an answer to a ping. Their close code is 1011,
which a failed behaviour has too; operators must look into that one only."""


def close_label(code: int) -> str:
    """Return the label for a close code: one per thousand where a peer can choose any code."""
    named = _NAMED_CODES.get(code)
    if named is not None:
        return named
    return f"{code // 1000}xxx" if 3000 <= code <= 4999 else "other"


class Counts:
    """The counts of a server's connections, open ones and those that are over."""

    def __init__(self) -> None:
        #: Connections that were accepted, and those that completed the handshake.
        self.accepted = 0
        self.opened = 0
        #: Seconds from accepting a connection to its 101.
        self.handshakes = Histogram()
        #: Opened connections by the code of the first close frame.
        self.closes = Counter({close_label(code): 0 for code in (*CloseCode, 3000, 4000)})
        self.closes[PING_TIMEOUT] = 0
        #: Refused connections, by reason.
        self.refusals: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        # The traffic of connections that are over.
        self._messages_received = self._messages_sent = 0
        self._octets_received = self._octets_sent = 0

    def state(self) -> dict[str, Any]:
        """Return the state as numbers, from which `of` makes a copy."""
        return {
            "accepted": self.accepted,
            "opened": self.opened,
            "handshakes": self.handshakes.state(),
            "closes": dict(self.closes),
            "refusals": dict(self.refusals),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Counts:
        """Return counts from a `state`, or from the sum of several. Traffic is not restored."""
        made = cls()
        made.accepted = int(state.get("accepted", 0))
        made.opened = int(state.get("opened", 0))
        made.handshakes = Histogram.of(state.get("handshakes", ()))
        made.closes.update(state.get("closes", {}))
        made.refusals.update(state.get("refusals", {}))
        return made

    @property
    def past(self) -> Traffic:
        """Return the traffic of connections that are over. Its `queued` is 0."""
        messages = self._messages_received, self._messages_sent
        return Traffic(*messages, self._octets_received, self._octets_sent, 0)

    def left(self, traffic: Traffic) -> None:
        """Add the traffic of a connection that is over, except for its unsent octets."""
        messages_received, messages_sent, octets_received, octets_sent, _ = traffic
        self._messages_received += messages_received
        self._messages_sent += messages_sent
        self._octets_received += octets_received
        self._octets_sent += octets_sent
