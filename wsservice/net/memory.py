"""Find out how much memory a process may take, and tune how Python and the C library manage it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

from .cgroups import CGROUPS, OWN, folders, read

_YOUNG_OBJECTS = 10_000
"""Objects made and not freed before the garbage collector looks at them. Python's default: 700."""

_KEPT_OCTETS = 32 * 1024 * 1024
"""Octets of freed memory that the C library keeps for later allocations."""

_MAPPED_OCTETS = 4 * 1024 * 1024
"""Octets from which an allocation is a mapping, which returns to the kernel once it is freed."""

# <malloc.h> of the GNU C library
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def collect_seldom() -> None:
    """Make the garbage collector run rarely, and never look at the objects of the program itself.

    Closed connections are freed without the collector. It would go through the open ones again
    and again: with 5,000 open, that took 40 microseconds for each.
    """
    # First, so that garbage is not among the objects that `freeze` keeps for ever.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


def keep_freed() -> None:
    """Make the GNU C library keep some freed memory, unless the environment configures it.

    By default the memory of each message of a megabyte returns to the kernel, and the next message
    asks for it again, page by page. That is half of the cost of an echo of a megabyte.
    """
    # `MALLOC_TRIM_THRESHOLD_` and the like: the operator has decided.
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError):  # a C library without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_OCTETS)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_OCTETS)


def usable(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the octets of memory that this process may take, or 0 if the system has no figure.

    It is the least of the machine's memory and of the limits of all control groups around the
    process. `cgroups` and `own` are as in `cgroups.folders`.
    """
    found = [int(text) for text in _limits(cgroups, own) if text.isdigit()]
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not every system has these
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((each for each in found if each > 0), default=0)


def _limits(cgroups: Path, own: Path) -> list[str]:
    """Return the limits of control groups: a number each, or "max" or "" for no limit."""
    version_2 = [read(folder / "memory.max") for folder in folders(cgroups, own)]
    version_1 = read(cgroups / "memory" / "memory.limit_in_bytes")
    return [text.strip() for text in (*version_2, version_1)]


def for_messages(setting: int | str, processes: int = 1) -> int:
    """Return each process's share of `--memory-for-messages` in octets, 0 for no limit.

    `setting` is a number of octets or `auto`, which is a quarter of the usable memory. `processes`
    is how many processes share it.
    """
    octets = usable() // 4 if setting == "auto" else int(setting)
    return -(-octets // processes)
