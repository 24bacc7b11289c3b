"""The destination of the message log of a service with workers, and how their lines get there."""

from __future__ import annotations

import os
import stat
from typing import Any

from ...config.config import Config
from ...log.destination import Destination
from ...log.journal import open_destination
from ..wire.records import FILE, LOG, RECORDS


class _Nowhere:
    """The destination of a parent whose workers write their messages by themselves."""

    wanted = False
    dropped = 0

    def write(self, lines: bytes) -> None:
        """Drop the lines."""

    def reopen(self) -> None:
        """Do nothing: workers reopen the file."""

    def close(self) -> None:
        """Do nothing: workers close the file."""


def message_log_of(config: Config, reactor: Any) -> tuple[Destination, str]:
    """Return the parent's destination for lines of messages, and the way of workers' lines.

    Raises `JournalError`.
    """
    if config.message_log == "log":
        return _Nowhere(), LOG
    # No stamp: lines from a worker already begin with their time.
    destination = open_destination(config, reactor, lambda _: b"")
    if config.message_log != "-" and _is_file(os.path.abspath(config.message_log)):
        destination.close()
        return _Nowhere(), FILE
    return destination, RECORDS


def _is_file(path: str) -> bool:
    """Return True if several processes can append whole lines to a path at the same time."""
    # Paths such as /dev/stdout depend on the process that opens them.
    return not path.startswith(("/dev/", "/proc/")) and stat.S_ISREG(os.stat(path).st_mode)
