"""The drain of a service: it tells its connections, and answers health checks meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..channels.contract import Hub
from ..clock import monotonic_of
from ..config.config import Config

if TYPE_CHECKING:
    from ..server.behaviours import ServerProtocol

_AT_ONCE = 100
"""The largest number of connections to close all at once when the service stops."""

_EACH_SECOND = 200
"""The number of connections to close per second if there are more, as far as the drain allows."""

_LAST_WORDS = 1.0
"""The least time, in seconds, for webhook and inbox after connections have used up the drain."""

_log = Logger(namespace="wsservice")


def kept_open(
    config: Config,
    named: Sequence[tuple[str, IStreamServerEndpoint]],
    ports: Sequence[IListeningPort],
) -> list[IListeningPort]:
    """Return the ports that stay open while the service drains, to answer health checks.

    `named` are the endpoints of the ports, each with the option that names it. Without
    `Config.health_path` none stays open. Nor does a port of systemd: systemd keeps it open, and
    connections wait there for the next start of the service.
    """
    if not config.health_path or not ports:
        return []
    both = zip(named, ports, strict=True)
    return [port for (option, _), port in both if "systemd:" not in option]


class DrainListener(Protocol):
    """A connection that can be told that the service stops."""

    def go_away(self) -> None:
        """Close the connection, because the service stops."""


class Goodbyes:
    """Tells connections that the service stops: a few at once, many over some seconds.

    If many were told at once, they would reconnect at once, to a service that has just started.
    `longest` is the number of seconds to take at most.
    """

    def __init__(self, reactor: Any, connections: Iterable[DrainListener], longest: float) -> None:
        self._reactor = reactor
        untold = list(connections)
        spread = min(longest, len(untold) / _EACH_SECOND) if len(untold) > _AT_ONCE else 0.0
        random.shuffle(untold)
        self._monotonic = monotonic_of(reactor)
        now = self._monotonic()
        # In descending order, so that `pop` takes the earliest.
        moments = sorted((random.uniform(0, spread) for _ in untold), reverse=True)  # noqa: S311
        self._untold = [(now + each, who) for each, who in zip(moments, untold, strict=True)]
        self._call: IDelayedCall | None = None
        self._tell()

    def _tell(self) -> None:
        self._call = None
        while self._untold and self._untold[-1][0] <= self._monotonic():
            self._untold.pop()[1].go_away()
        if self._untold:
            delay = self._untold[-1][0] - self._monotonic()
            self._call = self._reactor.callLater(max(0, delay), self._tell)

    def end(self) -> None:
        """Tell no more connections."""
        self._untold.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Drain:
    """The end of the connections of one process, those of `hub`, within `seconds`.

    Those in `told` are told at once that the service stops: see `Goodbyes`. Webhook and inbox then
    send what they hold with `flushes`, in the time that is left.
    """

    def __init__(
        self,
        hub: Hub,
        told: Iterable[DrainListener],
        reactor: Any,
        seconds: float,
        flushes: Sequence[Callable[[float], Deferred[None]]],
    ) -> None:
        self._hub = hub
        self._reactor = reactor
        self._seconds = seconds
        self._flushes = flushes
        self._monotonic = monotonic_of(reactor)
        self._until = self._monotonic() + seconds
        self._goodbyes = Goodbyes(reactor, told, seconds / 2)

    def wait(self) -> Deferred[None]:
        """Fire when all connections are closed, or the time is over."""
        if not self._seconds:
            # The close frames leave in one turn of the reactor.
            return deferLater(self._reactor, 0, lambda: None)
        settled = self._hub.when_settled()
        deadline = self._reactor.callLater(self._seconds, settled.cancel)

        def done(result: Any) -> None:
            if deadline.active():
                deadline.cancel()
            if result is not None:
                result.trap(CancelledError)
                _log.warn(
                    "{count} connections did not close within --drain {drain:g} s; dropped",
                    count=self._hub.unsettled,
                    drain=self._seconds,
                )

        return settled.addBoth(done)

    def flush(self) -> Deferred[None] | None:
        """Drop the remaining connections, and flush webhook and inbox.

        The webhook gets the disconnects too, and the inbox the last messages.
        """
        if not self._flushes:
            return None
        for each in cast("Iterable[ServerProtocol]", self._hub):
            each.drop()
        # In one turn of the reactor, the last connections are lost.
        turn = deferLater(self._reactor, 0, lambda: None)
        least = _LAST_WORDS if self._seconds else 0.0

        def tell(_: object) -> Deferred[None]:
            left = max(least, self._until - self._monotonic())
            return DeferredList([each(left) for each in self._flushes]).addCallback(lambda _: None)

        return turn.addCallback(tell)

    def end(self) -> None:
        """Tell no more connections."""
        self._goodbyes.end()
