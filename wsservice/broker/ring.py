"""Choose the server of a channel among several, by consistent hashing. PURE.

Each server has many points on a ring of numbers. A channel is on the server of the first point
behind its own. If a server is added, only the channels between its points and the points before
them move: the share of the new server. A point is a SHA-256 of the server's name, so all nodes
agree, whatever their version of Python.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

POINTS = 160
"""Points of each server. With 160 the shares of two servers differ by about 10 %."""


def _point(text: str) -> int:
    # Not Python's own hash, which differs between processes. A channel's name may have halves of
    # surrogate pairs, which UTF-8 refuses.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class Ring:
    """Assigns each channel to one of at least one server with different names.

    The order of the names has no influence. Raises `ValueError` for names that are equal.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if not names or len(set(names)) < len(names):
            raise ValueError(names)
        self._only = len(names) == 1
        points = sorted((_point(f"{name}#{n}"), name) for name in names for n in range(POINTS))
        self._points = [point for point, _ in points]
        self._places = [names.index(name) for _, name in points]

    def place(self, channel: str) -> int:
        """Return the index of a channel's server among the given names."""
        if self._only:  # the usual case, for which no channel need be hashed
            return 0
        at = bisect_right(self._points, _point(channel))
        return self._places[at % len(self._places)]
