"""The channels that a node hears, each until a while after its last connection left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..channels.query import Position
from ..errors import Away
from ..log.peer import PeerLogger
from .outbox import MOST_OCTETS
from .queued import QueuedMessage
from .redis.link import Link

LINGERING = 5.0
"""Seconds for which a channel is still heard after its last connection left."""

MOST_HELD = 1000
"""Messages of this node that wait until it hears the channel that they are for. Those of all
channels take no more than `outbox.MOST_OCTETS`."""

_AGAIN = 5.0
"""Seconds after which a channel is tried again that could not be subscribed to."""

_log = PeerLogger(namespace="wsservice")


@attrs.define(eq=False)
class HeardChannel:
    """A channel that is heard."""

    channel: str
    link: Link
    name: bytes
    confirmed: bool = False
    #: True if the server refuses the subscription.
    refused: bool = False
    #: Messages that this node published meanwhile, and questions about the history.
    held: list[QueuedMessage] = attrs.field(factory=list)
    waiting: list[Deferred[None]] = attrs.field(factory=list)
    #: The position of the last message that came, and the beginning of its entry.
    last: Position | None = None
    mark: bytes = b""
    #: True if no message can have passed unheard since then.
    current: bool = False
    #: True if it was heard before the server was away.
    was_heard: bool = False
    #: Both, as they were before the server was away.
    before: tuple[Position | None, bytes] = (None, b"")
    leaving: IDelayedCall | None = None

    @property
    def is_coming(self) -> bool:
        """Return True if the subscription is under way, so that the channel is heard soon."""
        return not self.confirmed and self.link.up and not self.refused

    def cancel(self) -> None:
        """Cancel what it waits for: its end, or the next attempt to subscribe."""
        leaving, self.leaving = self.leaving, None
        if leaving is not None and leaving.active():
            leaving.cancel()


class Hearing:
    """Subscribes to channels, and holds what is published on one until it is heard.

    `heard` gets the octets of each message, `confirmed` is called once a channel is heard, and
    `put` publishes by way of a server what was held.
    """

    def __init__(
        self,
        reactor: Any,
        heard: Callable[[HeardChannel, bytes], None],
        confirmed: Callable[[HeardChannel], None],
        put: Callable[[Link, QueuedMessage], object],
    ) -> None:
        self._reactor = reactor
        self._heard = heard
        self._told_confirmed = confirmed
        self._put = put
        self._lines: dict[str, HeardChannel] = {}
        # Octets of all held messages.
        self._held = 0

    def get(self, channel: str) -> HeardChannel | None:
        """Return a channel that is heard, or will be; None for any other."""
        return self._lines.get(channel)

    def of(self, link: Link) -> list[HeardChannel]:
        """Return the channels of a server."""
        return [line for line in self._lines.values() if line.link is link]

    def counts(self) -> tuple[int, int]:
        """Return how many channels are heard now, and how many are not yet or not any more."""
        heard = sum(line.confirmed and line.link.up for line in self._lines.values())
        return heard, len(self._lines) - heard

    def begin(self, channel: str, link: Link, name: bytes) -> None:
        """Hear a channel, whose name at its server is `name`."""
        line = self._lines[channel] = HeardChannel(channel, link, name)
        self._subscribe(line)

    def leave(self, channel: str) -> None:
        """Stop hearing a channel after `LINGERING` seconds, unless one joins until then."""
        line = self._lines.get(channel)
        if line is not None:
            # A page that is reloaded leaves and comes back at once. To subscribe anew each time
            # would cost two commands, and a hole in which messages pass unheard.
            line.leaving = self._reactor.callLater(LINGERING, self._stop, line)

    def hold(self, publication: QueuedMessage) -> bool:
        """Keep a message until its channel is heard. Returns False if it does not wait."""
        line = self._lines.get(publication.message.channel)
        if line is None or not line.is_coming or not self._may_hold(line, publication):
            return False
        # A connection that has just joined would otherwise miss it: Redis sends a message only to
        # those that have subscribed before.
        line.held.append(publication)
        self._held += publication.octets
        return True

    def lost(self, link: Link) -> list[HeardChannel]:
        """Note how far the channels of a server that is away were heard, and return them."""
        lines = self.of(link)
        for line in lines:
            line.was_heard |= line.confirmed
            if line.current:
                # With these the server finds out later whether it has lost messages.
                line.before = (line.last, line.mark)
            line.current = False
            self._release_held(line)
        return lines

    def close(self) -> None:
        """Leave no timer behind."""
        for line in self._lines.values():
            line.cancel()

    def _may_hold(self, line: HeardChannel, publication: QueuedMessage) -> bool:
        return len(line.held) < MOST_HELD and self._held + publication.octets <= MOST_OCTETS

    def _stop(self, line: HeardChannel) -> None:
        line.cancel()
        if self._lines.get(line.channel) is line:
            del self._lines[line.channel]
            line.link.unsubscribe(line.name)
            self._release(line)

    def _subscribe(self, line: HeardChannel) -> None:
        if self._lines.get(line.channel) is line:
            line.leaving = None
            subscribed = line.link.subscribe(line.name, partial(self._heard, line))
            subscribed.addCallbacks(
                partial(self._confirmed, line), partial(self._not_confirmed, line)
            )

    def _confirmed(self, line: HeardChannel, _: object) -> None:
        line.confirmed, line.refused = True, False
        self._release(line)
        self._told_confirmed(line)

    def _not_confirmed(self, line: HeardChannel, failure: Failure) -> None:
        self._release(line)
        if failure.check(Away):
            return  # nobody wants to hear it any more
        line.refused = True
        _log.error(
            "the channel {channel} cannot be heard: {why}",
            channel=line.channel,
            why=failure.getErrorMessage(),
        )
        line.leaving = self._reactor.callLater(_AGAIN, self._subscribe, line)

    def _release_held(self, line: HeardChannel) -> None:
        held, line.held = line.held, []
        self._held -= sum(publication.octets for publication in held)
        for publication in held:
            self._put(line.link, publication)

    def _release(self, line: HeardChannel) -> None:
        """Go on with the messages and questions that waited for a channel to be heard."""
        self._release_held(line)
        waiting, line.waiting = line.waiting, []
        for each in waiting:
            each.callback(None)
