"""The choice of the worker for the next connection: the one that has the fewest.

The parent counts connections and decides on them for the whole service. A worker that does not take
the connections handed to it gets no more of them, and others get those that it did not take. If no
worker takes any, new connections wait in the kernel.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ...http.forwarded import TrustedProxies
from ...server.admission import Admission, ConnectionLimits
from ..wire.passing import Handing
from .process import Worker

_ACCEPTED_AT_ONCE = 16
"""The largest number of connections to accept in one turn of the reactor."""

_UNTAKEN = 32
"""The largest number of connections that may wait for one worker to take them."""

SILENT = 2
"""The number of unanswered pings in a row after which other workers are preferred."""

Held = tuple[int, socket.socket, Any, Admission]
"""An accepted connection that no worker has: its port, socket, peer's address and admission."""


class Sharing:
    """The ports of a service whose workers are `workers()`.

    `peers_come_later` is True behind a balancer: the parent does not know the peers' addresses,
    and each worker counts them for itself. So it is for the peers that are `trusted`, since their
    requests name the clients.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        workers: Callable[[], Sequence[Worker]],
        peers_come_later: bool,
        trusted: TrustedProxies = TrustedProxies(),  # noqa: B008 - it is frozen
    ) -> None:
        self.limits = limits
        self.trusted = trusted
        self._workers = workers
        self._peers_come_later = peers_come_later
        self._numbers = itertools.count(1)
        self._turn = 0
        self._ports: list[Any] = []
        self._paused: list[Any] = []
        self._held: list[Held] = []
        #: True until `close`: connections are handed on.
        self.is_open = True

    def serve(self, ports: Sequence[Any]) -> None:
        """Make Twisted's ports hand over the connections that they accept."""
        self._ports = list(ports)
        for place, port in enumerate(ports):
            port.doRead = self._reader(place, port)

    def _reader(self, place: int, port: Any) -> Callable[[], None]:
        def do_read() -> None:
            for _ in range(_ACCEPTED_AT_ONCE):
                if self._held or not self._candidates():
                    self._pause(port)
                    return
                try:
                    connection, address = port.socket.accept()
                except OSError:
                    return  # no connection waits, or the client is gone
                self._accepted(place, connection, address)

        return do_read

    def _accepted(self, place: int, connection: socket.socket, address: Any) -> None:
        self._hand((place, connection, address, self.limits.arrive(self._counted(address))))

    def _counted(self, address: Any) -> str | None:
        """Return the IP address for which a connection counts here, None if there is none."""
        if self._peers_come_later or not isinstance(address, tuple):
            return None
        host: str = address[0]
        return None if self.trusted and self.trusted.trusts(host) else host

    def _hand(self, held: Held) -> None:
        place, connection, address, admission = held
        handing = Handing(next(self._numbers), admission.verdict, address)
        for worker in self._candidates():
            if worker.hand(place, connection, handing):
                worker.took(handing.number, admission)
                connection.close()
                return
        self._held.append(held)

    def _candidates(self) -> list[Worker]:
        """Return the workers that may be handed a connection, the best first."""
        workers = [each for each in self._workers() if len(each.untaken) < _UNTAKEN]
        self._turn += 1
        first = self._turn % len(workers) if workers else 0
        return sorted(
            workers[first:] + workers[:first],
            key=lambda worker: (worker.silence >= SILENT, worker.load),
        )

    def _pause(self, port: Any) -> None:
        if port not in self._paused:
            self._paused.append(port)
            port.stopReading()

    def resume(self) -> None:
        """Hand on held connections, since a worker has room, or a new worker serves."""
        held, self._held = self._held, []
        for each in held:
            self._hand(each)
        if self._candidates() and not self._held:
            paused, self._paused = self._paused, []
            for port in paused:
                if port.connected and not port.disconnecting:
                    port.startReading()

    def put_back(self, worker: Worker) -> None:
        """Hand the connections that a worker did not take to others."""
        for place, connection, handing, admission in worker.take_back():
            self._hand((place, connection, handing.address, admission))

    def left(self, admissions: Sequence[Admission]) -> None:
        """Forget connections that are over."""
        for admission in admissions:
            self.limits.leave(admission)

    def close(self) -> None:
        """Drop held connections, and hand on no more, because the service stops."""
        self.is_open = False
        held, self._held = self._held, []
        for _, connection, _, admission in held:
            connection.close()
            self.limits.leave(admission)
