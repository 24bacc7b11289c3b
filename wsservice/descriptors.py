"""File descriptors, of which each connection takes one: how many there are, and what for."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import Any

import attrs
from twisted.internet.selectreactor import SelectReactor

_SELECTABLE = 1024
"""Descriptors that `select` can wait for."""

_SPARE = 64
"""Kept for logs, and for what is accepted only to be dropped: a few for each port."""

_REFUSALS = 256
"""Connections that may wait for their refusal."""


def raise_limit() -> None:
    """Raise the process's soft limit on open files to the hard one, where that may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS: a hard limit that is none
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_for(reactor: Any) -> int:
    """How many files may be open, as far as the reactor can wait for them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.maxsize if soft == resource.RLIM_INFINITY else soft
    return min(limit, _SELECTABLE) if isinstance(reactor, SelectReactor) else limit


def in_use() -> int:
    """How many files are open, 0 where the system does not tell."""
    try:
        return len(os.listdir("/dev/fd")) - 1  # but for the list itself
    except OSError:
        return 0


def lowest_free() -> int:
    """The number that the next descriptor would have; `sys.maxsize` where none is left."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return sys.maxsize
    os.close(descriptor)
    return descriptor


@attrs.frozen
class Shares:
    """How the descriptors that there may be are shared out."""

    first_reserved: int
    """A connection whose descriptor has this number, or a higher one, is refused.

    The system gives the lowest number that is free: all below it are taken then,
    by connections or by anything else.
    """
    refusals: int
    """So many may wait for their refusal."""

    @classmethod
    def of(cls, limit: int) -> Shares:
        """With `limit` open files at most. With few, the reserve is small too."""
        refusals = min(_REFUSALS, limit // 8)
        return cls(limit - refusals - min(_SPARE, limit // 4), refusals)

    def room(self, used: int) -> int:
        """How many connections fit beside what is open already."""
        return max(0, self.first_reserved - used)
