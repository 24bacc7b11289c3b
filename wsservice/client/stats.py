"""What went over a connection, counted. PURE."""

from __future__ import annotations

import attrs


@attrs.define
class Count:
    """Messages, and their octets."""

    messages: int = 0
    octets: int = 0

    def add(self, payload: bytes) -> None:
        """One more message."""
        self.messages += 1
        self.octets += len(payload)

    def __str__(self) -> str:
        return f"{counted(self.messages, 'message')}, {counted(self.octets, 'byte')}"


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def milliseconds(seconds: float) -> str:
    """A short time, in words."""
    return f"{1000 * seconds:.1f} ms"


@attrs.define
class Stats:
    """What went over one connection. `began` is when, in seconds, it was opened."""

    began: float
    sent: Count = attrs.Factory(Count)
    received: Count = attrs.Factory(Count)
    _last: float = 0.0
    _least: float = float("inf")
    _most: float = 0.0
    _pings: int = 0

    def ponged(self, seconds: float) -> None:
        """A ping was answered, after so long."""
        self._pings += 1
        self._last = seconds
        self._least = min(self._least, seconds)
        self._most = max(self._most, seconds)

    def lines(self, now: float, waiting: int, is_open: bool) -> list[str]:
        """What to tell, a line each. `waiting` is how many octets were not taken yet."""
        since = f"{now - self.began:.0f} s"
        lines = [
            f"open for {since}" if is_open else f"opened {since} ago, and not open any more",
            f"sent {self.sent}; {counted(waiting, 'byte')} still waiting",
            f"received {self.received}",
        ]
        if self._pings:
            times = map(milliseconds, (self._last, self._least, self._most))
            last, least, most = times
            pings = counted(self._pings, "ping")
            lines.append(f"round trip: {last} the last, {least} to {most} in {pings}")
        return lines
