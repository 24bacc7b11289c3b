"""The outcome of publishing. PURE: the standard library only, since `publish` needs no other."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """The outcome of a published message, or of several: of a hub, and of an HTTP request."""

    handed: int
    """Connections that the messages were handed to, added up over all messages."""
    dropped: int
    """Connections that read too slowly: the service closed them, or dropped older messages."""
    complete: bool = True
    """False if a message is still on its way to other processes, whose connections are not
    counted."""
    nodes: int | None = None
    """Nodes with connections on the channel, the largest number of several messages; None if
    unknown, or without --broker."""

    def plus(self, other: Published) -> Published:
        """Return the sum of both."""
        return Published(
            self.handed + other.handed,
            self.dropped + other.dropped,
            self.complete and other.complete,
            max((each for each in (self.nodes, other.nodes) if each is not None), default=None),
        )
