"""The program of the workers: how their processes start, and the open files that each costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..wire.orders import Start


@attrs.frozen
class Program:
    """The start parameters that all workers share."""

    start: Start
    """The first message on the bus."""
    ports: int
    """The number of its ports."""
    copy_log: Callable[[bytes], None]
    copy_messages: Callable[[bytes], None]
    reactor: Any

    @property
    def reactors_module(self) -> str:
        """Return the module of the parent's reactor."""
        return type(self.reactor).__module__


def files_for(ports: int) -> int:
    """Return the number of files that a parent has open for a worker with `ports` ports."""
    # The bus, two logs, standard output and error, and both ends of a pair for each port.
    return 5 + 2 * ports
