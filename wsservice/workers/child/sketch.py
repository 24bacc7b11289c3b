"""The number of channels that several workers have in all, told without names. PURE.

Each channel has a number, a hash of its name with a secret that all workers share. A worker tells
the parent about some of its channels only: those with the smallest numbers, and those with the
most connections. The message is small and cheap, whatever the names are and however many.

The smallest numbers of all workers together tell how many different ones there are. If each
worker tells of all its channels, that is exact. If one has more, the numbers up to the largest
that it tells stand for all: numbers are spread evenly, so that how close together they lie
tells how many there are (Bar-Yossef et al., *Counting distinct elements in a data stream*,
2002). It is wrong by 1.6 % then, in two cases of three.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from ...metrics import ChannelSizes

SMALLEST = 4096
"""The number of channels with the smallest numbers that a worker tells of."""

LARGEST = 64
"""The number of further channels that it tells of, those with the most connections, if several."""

LONGEST_KEY = hashlib.blake2b.MAX_KEY_SIZE
"""The largest size of the secret, in octets."""

_OCTETS = 8
_NUMBERS = 2 ** (8 * _OCTETS)


class Estimate(NamedTuple):
    """The number of channels, and the connections of the one that has the most."""

    channels: int
    largest: int


class Census(ChannelSizes):
    """The channels of a worker, summed up for its parent and kept up to date at each change.

    The cost does not grow with the channels that peers make up. `key` is the secret of the numbers,
    the same for all workers. Without it a peer could choose names whose numbers are small.
    """

    __slots__ = ("_by_bits", "_by_size", "_key")

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key
        # Each channel's number, by its bit length: one bit fewer halves the channels.
        self._by_bits: dict[int, dict[str, int]] = {}
        # The channels with several connections, by their number of connections.
        self._by_size: dict[int, dict[str, None]] = {}

    def grew(self, channel: str, count: int) -> None:
        super().grew(channel, count)
        if count == 1:
            number = _number(channel, self._key)
            self._by_bits.setdefault(number.bit_length(), {})[channel] = number
            return
        self._leave_size(channel, count - 1)
        self._by_size.setdefault(count, {})[channel] = None

    def shrank(self, channel: str, count: int) -> None:
        super().shrank(channel, count)
        if not count:
            for numbers in self._by_bits.values():
                if numbers.pop(channel, None) is not None:
                    break
            return
        self._leave_size(channel, count + 1)
        if count > 1:
            self._by_size.setdefault(count, {})[channel] = None

    def _leave_size(self, channel: str, count: int) -> None:
        if count > 1:
            those = self._by_size[count]
            del those[channel]
            if not those:
                del self._by_size[count]

    def sketch(self, count_of: Callable[[str], int]) -> dict[str, Any]:
        """Return the sketch for the parent, in types of JSON.

        `count_of` returns the number of connections on a channel.
        """
        found: list[tuple[int, str]] = []
        for bits in sorted(self._by_bits):
            found += [(number, name) for name, number in self._by_bits[bits].items()]
            if len(found) > SMALLEST:
                break
        smallest = sorted(found)[:SMALLEST]
        sizes = [[number, count_of(name)] for number, name in smallest]
        told = {number for number, _ in smallest}
        for name in self._largest():
            number = _number(name, self._key)
            if number not in told:
                sizes.append([number, count_of(name)])
        return {
            "sizes": sizes,
            "up_to": None if len(found) == len(smallest) else smallest[-1][0],
        }

    def _largest(self) -> Iterator[str]:
        """Yield the names of the channels with the most connections, at least two each."""
        by_size = (self._by_size[count] for count in sorted(self._by_size, reverse=True))
        return islice(chain.from_iterable(by_size), LARGEST)


def estimated(sketches: Iterable[Mapping[str, Any]]) -> Estimate:
    """Return the estimate from the sketches of all workers."""
    sizes: Counter[int] = Counter()
    up_to = _NUMBERS
    for each in sketches:
        for number, count in each["sizes"]:
            sizes[number] += count
        if each["up_to"] is not None:
            up_to = min(up_to, each["up_to"])
    largest = max(sizes.values(), default=0)
    if up_to == _NUMBERS:
        return Estimate(len(sizes), largest)
    known = sum(number < up_to for number in sizes)
    return Estimate(round(known * _NUMBERS / up_to), largest)


def _number(name: str, key: bytes) -> int:
    octets = name.encode(errors="surrogatepass")
    digest = hashlib.blake2b(octets, digest_size=_OCTETS, key=key).digest()
    return int.from_bytes(digest, "big")
