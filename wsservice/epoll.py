"""Twisted's epoll reactor, with less done for each event.

Twisted works off each event within a log context of its own, so that what is
logged meanwhile by the old `twisted.python.log` begins with the connection's
name. Nothing here logs that way, and it is a quarter or so of what a small
message costs. All else is Twisted's: with this reactor such a line begins
with `-`.
"""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log


class WSEPollReactor(EPollReactor):
    """An `EPollReactor` that sets no log context around reads and writes."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, for at most `timeout` seconds, and work them off."""
        selectables = self._selectables
        read_or_write = self._doReadOrWrite
        for fd, event in self._poller.poll(timeout, len(selectables)):
            selectable = selectables.get(fd)
            if selectable is None:  # closed by one before it
                continue
            try:
                read_or_write(selectable, fd, event)
            except KeyboardInterrupt:
                raise
            except BaseException:
                # What reading or writing raises is caught there. This is what its end did.
                log.err()

    # The reactor's loop calls it by this name.
    doIteration = doPoll
