"""Memory, of a process that runs one service: what Python and the C library are told of it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

_YOUNG = 10_000
"""Objects that are made, and not freed, before the garbage collector looks at them; Python: 700."""

_KEPT = 32 * 1024 * 1024
"""Octets of freed memory that are kept for what comes next."""

_MAPPED = 4 * 1024 * 1024
"""Octets from which an allocation is the kernel's own, and given back as soon as it is freed."""

# <malloc.h> of the GNU C library
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def collect_seldom() -> None:
    """Have the garbage collector look seldom, and never at what the program itself is made of.

    A connection that is over is freed without it, but those that are open it
    would go through again and again: with 5,000, for 40 microseconds of each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def keep_freed() -> None:
    """Have the GNU C library keep some freed memory, unless the environment says how much.

    Else what a message of a megabyte takes is given back to the kernel and asked
    for again, page by page, with each: that is half of what an echo of it costs.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
