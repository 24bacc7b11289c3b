"""Show the frames of one connection to an operator.

Only the reads and writes of a watched connection take a longer way. Other connections pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .reading import Reader
from .sending import SendQueue, Socket


class Watcher(Protocol):
    """Watches a connection. The octets that it gets are frames, already decrypted for TLS."""

    def began(self, rest: int, waiting: bytes) -> None:
        """Begin to watch.

        `rest` is how many octets of the current received frame are still to come, 0 if there is
        none. `waiting` has octets behind that frame that were received and not parsed yet. Sent
        octets begin with a whole frame.
        """

    def received(self, octets: bytes) -> None:
        """Take received octets."""

    def sent(self, octets: bytes) -> None:
        """Take octets that are passed to the transport: whole frames."""

    def ended(self) -> None:
        """Take note that the connection is over."""


class Watched:
    """A connection that is watched, and its watchers. It exists while there are any."""

    __slots__ = ("_connection", "_queue", "_way", "watchers")

    def __init__(self, connection: Any, queue: SendQueue) -> None:
        self._connection = connection
        self._queue = queue
        self.watchers: tuple[Watcher, ...] = ()
        # An attribute of this connection hides the method of its class. An `if` in the method
        # would cost every connection.
        connection.dataReceived = self._received
        self._way: tuple[Callable[[bytes], object], Socket | None] = queue.write_by(self._sent)

    def add(self, watcher: Watcher, reader: Reader) -> None:
        """Show octets to a watcher from now on."""
        self.watchers += (watcher,)
        watcher.began(reader.rest_of_frame(), reader.unread)

    def remove(self, watcher: Watcher) -> None:
        """Stop showing octets to a watcher. Idempotent."""
        if watcher not in self.watchers:
            return
        self.watchers = tuple(each for each in self.watchers if each is not watcher)
        if not self.watchers:
            del self._connection.__dict__["dataReceived"]
            self._queue.write_by(*self._way)

    def end(self) -> None:
        """Stop, and tell the watchers, since the connection is over."""
        watchers = self.watchers
        for each in watchers:
            self.remove(each)
        for each in watchers:
            each.ended()

    def _received(self, data: bytes) -> None:
        self._show("received", data)
        type(self._connection).dataReceived(self._connection, data)

    def _sent(self, data: bytes) -> object:
        write, _ = self._way
        self._show("sent", data)
        return write(data)

    def _show(self, what: str, data: bytes) -> None:
        for each in self.watchers:
            try:
                getattr(each, what)(data)
            except Exception:
                # An error of a watcher must not end the connection.
                connection = self._connection
                connection.log.failure("[{who}] a watcher failed", who=connection.who)
                connection.unwatch(each)
