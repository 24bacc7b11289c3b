"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The CPUs that this process may run on, or what a container's quota comes to, if less.

    At least 1. `cgroups` is where the kernel's control groups are, `own` tells which is ours.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(each) for each in _quotas(cgroups, own))]))


def _quotas(cgroups: Path, own: Path) -> list[float]:
    """The quotas in CPUs of our control group and of those that it is in."""
    found = []
    try:
        path = own.read_text().rpartition("::")[2].strip().strip("/")
    except OSError:
        path = ""
    folder = cgroups / path
    while folder == cgroups or cgroups in folder.parents:
        quota = _read(folder / "cpu.max").split()
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
            found.append(int(quota[0]) / int(quota[1]))
        folder = folder.parent
    quota_us = _read(cgroups / "cpu" / "cpu.cfs_quota_us").strip()
    period_us = _read(cgroups / "cpu" / "cpu.cfs_period_us").strip()
    if quota_us.isdigit() and period_us.isdigit():  # of version 1; -1 where there is none
        found.append(int(quota_us) / int(period_us))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
