"""Which of several servers has a channel: consistent hashing. PURE.

Each server has many points on a ring of numbers, and a channel is on the server of the first
point behind its own. So where one more server is given, only the channels between its points
and those before them move, a share that is the new server's. Points come of SHA-256 over
what a server is called: all nodes, whatever their version of Python, agree.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

POINTS = 160
"""Of each server. With so many, the share of one differs from another's by some 10 %."""


def _point(text: str) -> int:
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class Ring:
    """Puts each channel on one of some servers, at least one, which have different names.

    It is the same whatever order they are given in.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if not names or len(set(names)) < len(names):
            raise ValueError(names)
        self._only = len(names) == 1
        points = sorted((_point(f"{name}#{n}"), name) for name in names for n in range(POINTS))
        self._points = [point for point, _ in points]
        self._places = [names.index(name) for _, name in points]

    def place(self, channel: str) -> int:
        """The place, among those that were given, of the server that has a channel."""
        if self._only:
            return 0
        at = bisect_right(self._points, _point(channel))
        return self._places[at % len(self._places)]
