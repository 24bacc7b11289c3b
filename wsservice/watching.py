"""Showing what passes on one connection to whoever watches it.

It is done on that connection alone: its reads and writes go a longer way while
somebody watches. All others know nothing of it, and pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .log import PeerLogger
from .reading import Reading
from .sending import SendQueue, Socket


class Watcher(Protocol):
    """Somebody who watches a connection. Octets are those of frames, within TLS."""

    def began(self, rest: int, waiting: bytes) -> None:
        """It begins, in a frame of which `rest` octets are still to come, 0 for none.

        `waiting` came already, behind that frame, and was not looked at yet. What is
        sent begins with a whole frame.
        """

    def received(self, octets: bytes) -> None:
        """These came."""

    def sent(self, octets: bytes) -> None:
        """These are handed to the transport: whole frames."""

    def ended(self) -> None:
        """The connection is over."""


class Watching(Reading):
    """A connection that can be watched. To be mixed in before Autobahn's protocol."""

    log: PeerLogger
    who: str
    _queue: SendQueue
    _watchers: tuple[Watcher, ...] = ()
    _way_unwatched: tuple[Callable[[bytes], object], Socket | None]

    def watch(self, watcher: Watcher) -> None:
        """Show a watcher what comes and goes from now on. To be called once it is open."""
        if not self._watchers:
            # An attribute of the connection's own stands in the place of its class's method.
            me: Any = self
            me.dataReceived = self._received_watched
            self._way_unwatched = self._queue.write_by(self._write_watched)
        self._watchers += (watcher,)
        watcher.began(self._rest_of_frame(), self._unread)

    def unwatch(self, watcher: Watcher) -> None:
        """Show it no more. Once is enough, more does no harm."""
        if watcher not in self._watchers:
            return
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        if not self._watchers:
            del self.__dict__["dataReceived"]
            self._queue.write_by(*self._way_unwatched)
            del self._way_unwatched

    def _rest_of_frame(self) -> int:
        if self._partial is not None:
            return self._partial.left
        if self.current_frame is not None:
            return int(self.current_frame.length - self.current_frame_masker.pointer())
        return 0

    def _received_watched(self, data: bytes) -> None:
        self._show("received", data)
        type(self).dataReceived(self, data)

    def _write_watched(self, data: bytes) -> object:
        write, _ = self._way_unwatched
        self._show("sent", data)
        return write(data)

    def _tell_watchers_of_end(self) -> None:
        watchers = self._watchers
        for each in watchers:
            self.unwatch(each)
        for each in watchers:
            each.ended()

    def _show(self, what: str, data: bytes) -> None:
        for each in self._watchers:
            try:
                getattr(each, what)(data)
            except Exception:
                # Whoever watches must not harm what is watched.
                self.log.failure("[{who}] a watcher failed", who=self.who)
                self.unwatch(each)
