"""A worker's ports. The parent hands their connections over.

The endpoints of the configuration listen on a reactor of ours. It makes Twisted's own ports, over a
socket that takes connections from the parent in place of accepting them. TLS, PROXY headers and all
else that an endpoint does therefore work as with one process.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet import unix
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.tcp import Port
from twisted.protocols.tls import TLSMemoryBIOFactory

from ...private.of_twisted import Quiet, name_port
from ...server.admission import Admission, ConnectionLimits, Verdict
from ..wire.bus import Bus
from ..wire.passing import Handing, take
from ..wire.reports import ConnectionsChanged


@attrs.define
class Roster:
    """The numbers of a worker's connections. It reports to the parent.

    Once per turn of the reactor, the parent learns which connections were taken, and which ended.
    """

    _bus: Bus
    _reactor: Any
    _current: Handing | None = None
    _number: int = 0
    _taken: list[int] = attrs.field(factory=list)
    _left: list[int] = attrs.field(factory=list)

    def handed(self, handing: Handing) -> None:
        """Note that a connection was handed over, and is about to be made."""
        self.forget()
        self._current = handing
        self._tell()
        self._taken.append(handing.number)

    def forget(self) -> None:
        """Forget the connection that was handed over last, unless it was made."""
        if self._current is not None:
            self.left(self._current.number)
            self._current = None

    def begun(self) -> Handing | None:
        """Return the connection that is being made, None if it was not handed over."""
        handing, self._current = self._current, None
        self._number = 0 if handing is None else handing.number
        return handing

    def left(self, number: int) -> None:
        """Note that a connection is over."""
        self._tell()
        self._left.append(number)

    def __iter__(self) -> Roster:
        return self

    def __next__(self) -> str:
        """Return the id of the connection that has begun last."""
        return str(self._number)

    def _tell(self) -> None:
        if not self._taken and not self._left:
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        taken, self._taken = self._taken, []
        left, self._left = self._left, []
        self._bus.say(ConnectionsChanged(tuple(taken), tuple(left)))


class HandedLimits(ConnectionLimits):
    """The limits of a worker, which carries out its parent's decisions.

    The worker itself only checks that it has a free descriptor, and the limits per address for
    clients behind a balancer or a trusted proxy, whose addresses the parent does not know.
    """

    def __init__(self, roster: Roster, most_per_address: int) -> None:
        super().__init__(0, most_per_address)
        self._roster = roster
        self._numbers: dict[Admission, int] = {}
        # Those that the parent has counted by their address.
        self._known: set[Admission] = set()

    def change(self, most: int, most_per_address: int) -> None:
        """Set the limit per address for new connections, where it is counted here."""
        super().change(0, most_per_address)

    def arrive(self, address: str | None = None, descriptor: int = 0) -> Admission:
        """Count a connection that was handed over. `address` is None if the parent has none."""
        handing = self._roster.begun()
        if handing is None or handing.verdict is Verdict.ADMITTED:
            admission = super().arrive(None, descriptor)
        elif handing.verdict in (Verdict.REFUSED, Verdict.TOO_SOON):
            admission = Admission(self._turn_away(handing.verdict))
        else:
            admission = Admission(handing.verdict)
        if handing is not None:
            self._numbers[admission] = handing.number
        if address is not None:
            self._known.add(admission)
        return admission

    def identify(self, admission: Admission, address: str | None) -> None:
        """Set the IP address of a connection, unless the parent knows it."""
        if admission not in self._known:
            super().identify(admission, address)

    def leave(self, admission: Admission) -> None:
        """Forget a connection that is over. Idempotent."""
        super().leave(admission)
        self._known.discard(admission)
        number = self._numbers.pop(admission, None)
        if number is not None:
            self._roster.left(number)


@attrs.frozen
class PortPlace:
    """The address of a port of the parent: the family of its socket, and its name."""

    family: int
    name: Any

    @classmethod
    def of(cls, listener: socket.socket) -> PortPlace:
        """Return the place of a socket, in types of JSON."""
        name = listener.getsockname()
        return cls(int(listener.family), os.fsdecode(name) if isinstance(name, bytes) else name)


class HandedListener:
    """A listening socket, as far as a port of Twisted uses it."""

    def __init__(self, end: socket.socket, place: PortPlace, roster: Roster) -> None:
        self._end = end
        self._place = place
        self._roster = roster
        #: The port over this socket.
        self.port: Any = None

    def fileno(self) -> int:
        """Return the descriptor, which is readable while a connection waits to be taken."""
        return self._end.fileno()

    def getsockname(self) -> Any:
        """Return the address on which the parent listens."""
        return tuple(self._place.name) if isinstance(self._place.name, list) else self._place.name

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection. Raises `OSError` if no descriptor is free; the connection is lost."""
        self._roster.forget()
        taken = take(self._end)
        if taken is None:  # the parent is gone. The bus tells so too, and this end stays readable
            self.port.stopReading()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        connection, handing = taken
        self._roster.handed(handing)
        if connection is None:
            self._roster.forget()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return connection, handing.address

    def close(self) -> None:
        """Take no more connections. The parent takes back those that are left."""
        self._end.close()


class _HandedPort(Quiet, Port):
    """A port that logs neither its start nor its end, since the parent does."""


class _HandedUNIXPort(Quiet, unix.Port):
    def connectionLost(self, reason: Any) -> None:
        # unix.Port's own method would remove the parent's socket.
        Port.connectionLost(self, reason)


class HandedReactor:
    """A reactor whose ports take connections from the parent. All else is passed on to `reactor`.

    `ends` are the worker's ends of the pairs, with their places, in the order of the endpoints.
    """

    def __init__(
        self, reactor: Any, ends: Iterable[tuple[socket.socket, PortPlace]], roster: Roster
    ) -> None:
        self._reactor = reactor
        self._ends = iter(ends)
        self._roster = roster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: object, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> Port:
        """Return a port over the parent's next TCP socket."""
        return self._port(factory)

    def listenSSL(
        self,
        port: object,
        factory: IProtocolFactory,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Port:
        """Return a port over the parent's next TCP socket, with TLS."""
        return self._port(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(
        self,
        address: object,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> Port:
        """Return a port over the parent's next unix socket."""
        return self._port(factory)

    def listenAnyAddress(self, factory: IProtocolFactory) -> Port:
        """Return a port over the parent's next socket, for `listening.AnyAddressEndpoint`."""
        return self._port(factory)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Port:
        """Return a port over the parent's next socket. The descriptor is not used."""
        return self._port(factory)

    def _port(self, factory: Any) -> Port:
        end, place = next(self._ends)
        listener = HandedListener(end, place, self._roster)
        name = listener.getsockname()
        port: Any
        if place.family == socket.AF_UNIX:
            port = _HandedUNIXPort(name, factory, reactor=self._reactor)
        else:
            port = _HandedPort(name[1], factory, interface=name[0], reactor=self._reactor)
            name_port(port, name[1])
        # These are the steps of startListening, except for binding.
        factory.doStart()
        port.connected = True
        port.socket = listener
        listener.port = port
        port.fileno = listener.fileno
        port.numberAccepts = 100
        port.startReading()
        made: Port = port
        return made
