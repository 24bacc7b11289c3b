"""Writes that one event causes, joined for each connection. PURE."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Gatherer(Protocol):
    """An object that keeps octets while a `Gathering` is under way."""

    def send_gathered(self) -> None:
        """Send the octets."""


class Gathering:
    """Joins octets that are sent during a piece of work into one write for each connection.

    The messages of one read often cause many others, to the same connection or to many. Many
    connections often send to the same one.
    """

    def __init__(self) -> None:
        #: True during a gathering. The code that sets it must call `end`.
        self.under_way = False
        #: The objects that keep octets.
        self.gatherers: list[Gatherer] = []

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Return a context manager that gathers within its block. An inner one has no effect."""
        if self.under_way:
            yield
            return
        self.under_way = True
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        """Send the gathered octets. Raises the error of a write, after all other writes."""
        # One connection's error must not keep back the octets of the others.
        error: Exception | None = None
        try:
            # A loop, since a write may pass to another gatherer, as that of TLS does.
            while self.gatherers:
                gatherers, self.gatherers = self.gatherers, []
                for each in gatherers:
                    try:
                        each.send_gathered()
                    except Exception as raised:
                        error = raised
        finally:
            self.under_way = False
        if error is not None:
            raise error
