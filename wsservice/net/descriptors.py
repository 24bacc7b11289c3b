"""Count file descriptors, and divide them among connections and everything else."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import Any

import attrs
from twisted.internet.selectreactor import SelectReactor

_SELECTABLE = 1024
"""Descriptors that `select` can wait for: FD_SETSIZE of the C library."""

_SPARE = 64
"""Descriptors kept for logs, and for connections that are accepted only to be dropped."""

_REFUSALS = 256
"""The most connections that may wait for their refusal at one time."""


def raise_limit() -> None:
    """Raise the process's soft limit on open files to its hard limit, if the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports an unlimited hard limit, but refuses it as a soft one.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_for(reactor: Any) -> int:
    """Return how many files may be open: the soft limit, or fewer if the reactor uses `select`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.maxsize if soft == resource.RLIM_INFINITY else soft
    return min(limit, _SELECTABLE) if isinstance(reactor, SelectReactor) else limit


def in_use() -> int:
    """Return how many files are open, or 0 if the system has no list of them."""
    try:
        return len(os.listdir("/dev/fd")) - 1  # without the descriptor that lists them
    except OSError:
        return 0


def keep_from_programs() -> None:
    """Keep inherited files whose numbers exceed the limit from programs that are started.

    A shell may open a file and lower the limit afterwards, so that the file's number is over the
    limit. `posix_spawn` cannot close such a file in the program that it starts: it fails with
    EBADF, and the program does not start.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError):  # no /dev/fd on this system
        for name in os.listdir("/dev/fd"):
            if soft != resource.RLIM_INFINITY and int(name) >= soft:
                with contextlib.suppress(OSError):
                    os.set_inheritable(int(name), False)


def lowest_free() -> int:
    """Return the number that the next descriptor would have, or `sys.maxsize` if none is free."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return sys.maxsize
    os.close(descriptor)
    return descriptor


@attrs.frozen
class Shares:
    """The division of the descriptors that a process may have."""

    first_reserved: int
    """The lowest descriptor number at which a connection is refused.

    The system assigns the lowest free number. So once a connection gets this number, all lower
    ones are taken, by connections or by other files, and no count is needed.
    """
    refusals: int
    """The most connections that may wait for their refusal at one time."""

    @classmethod
    def of(cls, limit: int) -> Shares:
        """Divide `limit` descriptors."""
        # The reserves are fractions of a small limit: 64 and 256 of 256 would leave nothing.
        refusals = min(_REFUSALS, limit // 8)
        return cls(limit - refusals - min(_SPARE, limit // 4), refusals)

    def room(self, used: int) -> int:
        """Return how many connections fit beside `used` files that are open already."""
        return max(0, self.first_reserved - used)
