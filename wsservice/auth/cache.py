"""Remember for a while that a credential was good. PURE."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

_T = TypeVar("_T")

MOST_ENTRIES = 10_000
MOST_OCTETS = 8 * 1024 * 1024
"""The bounds of a cache. Beyond them, the entry that was not used for the longest time goes."""


class GoodCredentials(Generic[_T]):
    """A bounded cache, whose keys are keyed hashes: it holds no credential.

    An entry costs `_ENTRY` octets and the size of its value.
    """

    _ENTRY = 200

    def __init__(self, most: int = MOST_ENTRIES, most_octets: int = MOST_OCTETS) -> None:
        self._most = most
        self._most_octets = most_octets
        self._octets = 0
        self._entries: OrderedDict[bytes, tuple[_T, int, float]] = OrderedDict()
        # A peer that knew the keys could look for two credentials with the same one.
        self._secret = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._entries)

    def key_of(self, *parts: bytes) -> bytes:
        """Return the key of a credential in parts. Other parts have another key."""
        hashed = hashlib.blake2b(key=self._secret, digest_size=32)
        for each in parts[:-1]:
            hashed.update(b"%d:" % len(each) + each)
        hashed.update(parts[-1])
        return hashed.digest()

    def get(self, key: bytes, now: float) -> _T | None:
        """Return the value of a key, None without one. `now` is in seconds since 1970."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, _, until = entry
        if now >= until:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: _T, size: int, until: float) -> None:
        """Remember a value of `size` octets up to a time in seconds since 1970."""
        if key in self._entries:
            self._remove(key)
        size += self._ENTRY
        if size > self._most_octets:
            return
        self._entries[key] = (value, size, until)
        self._octets += size
        while len(self._entries) > self._most or self._octets > self._most_octets:
            self._remove(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget all, as after a change of keys."""
        self._entries.clear()
        self._octets = 0

    def _remove(self, key: bytes) -> None:
        self._octets -= self._entries.pop(key)[1]
