"""The number of CPUs that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ..net.cgroups import CGROUPS, OWN, folders, read


def processes(workers: int | str) -> int:
    """Return the number of processes for a value of `--workers`: with `auto`, one per CPU."""
    return available() if workers == "auto" else int(workers)


def available(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the number of CPUs that this process may use, at least 1.

    It is the number of CPUs that the process may run on, or the CPU quota of its container if
    that is less. `cgroups` is the folder of the kernel's control groups, `own` the file that
    names ours.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(each) for each in _quotas(cgroups, own))]))


def _quotas(cgroups: Path, own: Path) -> list[float]:
    """Return the quotas, in CPUs, of our control group and of the groups around it."""
    found = []
    for folder in folders(cgroups, own):
        quota = read(folder / "cpu.max").split()
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
            found.append(int(quota[0]) / int(quota[1]))
    quota_us = read(cgroups / "cpu" / "cpu.cfs_quota_us").strip()
    period_us = read(cgroups / "cpu" / "cpu.cfs_period_us").strip()
    if quota_us.isdigit() and period_us.isdigit():  # of version 1; -1 where there is none
        found.append(int(quota_us) / int(period_us))
    return found
