"""Count the messages and pings of a connection. PURE."""

from __future__ import annotations

import attrs


@attrs.define
class Tally:
    """A number of messages, and their octets."""

    messages: int = 0
    octets: int = 0

    def add(self, payload: bytes) -> None:
        """Count one more message."""
        self.messages += 1
        self.octets += len(payload)

    def __str__(self) -> str:
        return f"{counted(self.messages, 'message')}, {counted(self.octets, 'byte')}"


def counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def milliseconds(seconds: float) -> str:
    """Return a short time in words."""
    return f"{1000 * seconds:.1f} ms"


@attrs.define
class Stats:
    """The traffic of one connection. `began` is the time at which it opened, in seconds."""

    began: float
    sent: Tally = attrs.Factory(Tally)
    received: Tally = attrs.Factory(Tally)
    _last: float = 0.0
    _least: float = float("inf")
    _most: float = 0.0
    _pings: int = 0

    def ponged(self, seconds: float) -> None:
        """Count a ping that was answered after `seconds`."""
        self._pings += 1
        self._last = seconds
        self._least = min(self._least, seconds)
        self._most = max(self._most, seconds)

    def lines(self, now: float, waiting: int, is_open: bool) -> list[str]:
        """Return the statistics as lines.

        `waiting` is the number of octets not taken by the server yet.
        """
        since = f"{now - self.began:.0f} s"
        lines = [
            f"open for {since}" if is_open else f"opened {since} ago, and closed now",
            f"sent {self.sent}; {counted(waiting, 'byte')} still waiting",
            f"received {self.received}",
        ]
        if self._pings:
            times = map(milliseconds, (self._last, self._least, self._most))
            last, least, most = times
            pings = counted(self._pings, "ping")
            lines.append(f"round trip: {last} the last, {least} to {most} in {pings}")
        return lines
