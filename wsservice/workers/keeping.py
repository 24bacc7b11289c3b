"""The history of a service in several processes: the parent keeps it, and workers ask.

Whatever is published comes here, gets its place, and goes to all workers, the one that
published it too. So a channel's messages come to each of them in the order of their
offsets. What a worker finds no room for it is told of, and it asks for it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs
from twisted.logger import Logger

from ..channels import Position
from ..history import History, Missed
from .messages import LONGEST_KEPT, Page, Publication, Stamp

_PAGE_OCTETS = 256 * 1024
"""Octets of the messages of a page, but for one that alone has more."""

_log = Logger(namespace="wsservice")


class Bus(Protocol):
    """What is asked of the bus to a worker."""

    def say(self, what: str, **members: Any) -> None:
        """Say something that is no publication."""

    def answer(self, body: bytes) -> None:
        """Say a body that the worker has asked for."""


class Asking(Protocol):
    """What is asked of a worker."""

    bus: Any


class Keeping:
    """The one history of a service. `seconds` gives seconds since 1970."""

    def __init__(self, history: History, seconds: Callable[[], float]) -> None:
        self.history = history
        history.occupied = self.is_occupied
        self._seconds = seconds
        # The channels that each worker has connections on, and of these, those of which it was
        # told that it lost something, until it asks.
        self._occupied: dict[Asking, set[str]] = {}
        self._told: dict[Asking, set[str]] = {}
        #: Messages that were too long to be passed on.
        self.refused = 0

    def stamped(self, message: Publication) -> Publication | None:
        """A message with its place in the history; None for one that is too long for the bus."""
        octets = len(message.payload) + len(message.channel.encode(errors="surrogatepass"))
        if octets > LONGEST_KEPT:
            self.refused += 1
            _log.warn(
                "a message of {octets} octets reaches nobody: workers take up to {most}",
                octets=octets,
                most=LONGEST_KEPT,
            )
            return None
        entry = self.history.append(
            message.channel, message.payload, message.binary, self._seconds()
        )
        position = Position(entry.offset, entry.epoch)
        kept = self.history.keeps(message.channel, position)
        return attrs.evolve(message, stamp=Stamp(position, entry.time, kept))

    def dropped(self, worker: Asking, channel: str) -> None:
        """A message of a channel found no room on its way to a worker."""
        if channel not in self._occupied.get(worker, ()):
            return
        told = self._told.setdefault(worker, set())
        if channel not in told:
            told.add(channel)
            worker.bus.say("lost", channel=channel)

    def asked(self, worker: Asking, message: Mapping[str, Any]) -> None:
        """A worker asks where a channel is, or what came there since a position."""
        channel = message["channel"]
        since = message["since"]
        # Of what is lost after the answer it is to be told again.
        self._told.get(worker, set()).discard(channel)
        if since is None:
            missed = Missed((), self.history.position(channel))
        else:
            offset, epoch = since
            missed = _page(self.history.since(channel, Position(offset, epoch), self._seconds()))
        worker.bus.answer(Page(message["request"], channel, missed).body())

    def came_and_left(self, worker: Asking, came: Iterable[str], left: Iterable[str]) -> None:
        """A worker has connections on some channels, and on others none any more."""
        occupied = self._occupied.setdefault(worker, set())
        occupied.update(came)
        occupied.difference_update(left)
        self._told.get(worker, set()).difference_update(left)

    def gone(self, worker: Asking) -> None:
        """A worker is over."""
        self._occupied.pop(worker, None)
        self._told.pop(worker, None)

    def is_occupied(self, channel: str) -> bool:
        """Whether an open connection is on a channel, in any worker."""
        return any(channel in each for each in self._occupied.values())


def _page(missed: Missed) -> Missed:
    """The beginning of what was missed that is not too much at once."""
    octets = 0
    for count, entry in enumerate(missed.entries):
        octets += len(entry.payload)
        if count and octets > _PAGE_OCTETS:
            entries = missed.entries[:count]
            return Missed(entries, Position(entries[-1].offset, entries[-1].epoch))
    return missed
