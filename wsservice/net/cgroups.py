"""Find the control groups of Linux that this process is in, and read their files. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def folders(cgroups: Path = CGROUPS, own: Path = OWN) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents (version 2).

    `cgroups` is the folder in which the kernel shows control groups. `own` is the file that names
    the group of this process.
    """
    # The line of version 2 begins with "0::". Lines of version 1 have a controller's name there.
    folder = cgroups / read(own).rpartition("::")[2].strip().strip("/")
    while folder == cgroups or cgroups in folder.parents:
        yield folder
        folder = folder.parent


def read(path: Path) -> str:
    """Return the text of a file, or "" if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
