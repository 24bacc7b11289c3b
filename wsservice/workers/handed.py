"""A worker's ports, whose connections come from its parent.

The endpoints of the configuration listen on a reactor of ours, which makes Twisted's
own ports, over a socket that takes from the parent what others accept. So TLS, PROXY
headers and whatever else an endpoint does are as they are with one process.
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

from ..policy import Admission, ConnectionLimits, Verdict
from .bus import Bus
from .passing import Handing, take


@attrs.define
class Roster:
    """The numbers of a worker's connections, and what is told to its parent of them.

    It is told which were taken, and which are over, once for each turn of the reactor.
    """

    _bus: Bus
    _reactor: Any
    _current: Handing | None = None
    _number: int = 0
    _taken: list[int] = attrs.field(factory=list)
    _left: list[int] = attrs.field(factory=list)

    def handed(self, handing: Handing) -> None:
        """A connection was handed over, and is about to be made."""
        self.forget()
        self._current = handing
        self._tell()
        self._taken.append(handing.number)

    def forget(self) -> None:
        """What was handed over last will not be made, unless it was."""
        if self._current is not None:
            self.left(self._current.number)
            self._current = None

    def begun(self) -> Handing | None:
        """The connection that is being made; None for one that was not handed over."""
        handing, self._current = self._current, None
        self._number = 0 if handing is None else handing.number
        return handing

    def left(self, number: int) -> None:
        """A connection is over."""
        self._tell()
        self._left.append(number)

    def __iter__(self) -> Roster:
        return self

    def __next__(self) -> str:
        """The id of the connection that has begun last."""
        return str(self._number)

    def _tell(self) -> None:
        if not self._taken and not self._left:
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        taken, self._taken = self._taken, []
        left, self._left = self._left, []
        self._bus.say("counts", taken=taken, left=left)


class HandedLimits(ConnectionLimits):
    """The limits of a worker: how many connections there may be, its parent has judged.

    Here that is carried out. What is left to a worker is whether it has a descriptor
    for one, and, behind a balancer, which address it is of.
    """

    def __init__(self, roster: Roster, most_per_address: int, peers_come_later: bool) -> None:
        super().__init__(0)
        self._roster = roster
        self._peers_come_later = peers_come_later
        self.change(0, most_per_address)
        self._numbers: dict[Admission, int] = {}

    def change(self, most: int, most_per_address: int) -> None:
        """Set how many there may be of an address from now on, where that is counted here."""
        super().change(0, most_per_address if self._peers_come_later else 0)

    def arrive(self, address: str | None = None, descriptor: int = 0) -> Admission:
        """A connection was handed over."""
        handing = self._roster.begun()
        if handing is None or handing.verdict is Verdict.ADMITTED:
            admission = super().arrive(address, descriptor)
        elif handing.verdict is Verdict.REFUSED:
            admission = Admission(self._turn_away())
        else:
            admission = Admission(handing.verdict)
        if handing is not None:
            self._numbers[admission] = handing.number
        return admission

    def leave(self, admission: Admission) -> None:
        """A connection is over. Once is enough, more does no harm."""
        super().leave(admission)
        number = self._numbers.pop(admission, None)
        if number is not None:
            self._roster.left(number)


@attrs.frozen
class Place:
    """Where a port of the parent's listens: its socket's family, and its name."""

    family: int
    name: Any

    @classmethod
    def of(cls, listener: socket.socket) -> Place:
        """That of a socket, in what JSON can say."""
        name = listener.getsockname()
        return cls(int(listener.family), os.fsdecode(name) if isinstance(name, bytes) else name)


class HandedListener:
    """What a port takes for the socket that listens."""

    def __init__(self, end: socket.socket, place: Place, roster: Roster) -> None:
        self._end = end
        self._place = place
        self._roster = roster

    def fileno(self) -> int:
        """The descriptor that can be read while a connection waits to be taken."""
        return self._end.fileno()

    def getsockname(self) -> Any:
        """Where the parent listens."""
        return tuple(self._place.name) if isinstance(self._place.name, list) else self._place.name

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket's. Raises `OSError` for want of a descriptor: that connection is lost."""
        self._roster.forget()
        taken = take(self._end)
        if taken is None:  # the parent is gone, as the bus tells too
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        connection, handing = taken
        self._roster.handed(handing)
        if connection is None:
            self._roster.forget()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return connection, handing.address

    def close(self) -> None:
        """Take no more. The parent takes back what is left."""
        self._end.close()


class _Quiet:
    """A port that logs neither its beginning nor its end: the parent does."""

    _shouldShutdown = False

    def _logConnectionLostMsg(self) -> None:
        pass


class _HandedPort(_Quiet, Port):
    pass


class _HandedUNIXPort(_Quiet, unix.Port):
    def connectionLost(self, reason: Any) -> None:
        # Not unix.Port's, which removes the socket of the parent.
        Port.connectionLost(self, reason)


class HandedReactor:
    """A reactor whose ports are handed their connections; in all else the one it is made of.

    `ends` are those of the pairs, with the places, in the order of the endpoints.
    """

    def __init__(
        self, reactor: Any, ends: Iterable[tuple[socket.socket, Place]], roster: Roster
    ) -> None:
        self._reactor = reactor
        self._ends = iter(ends)
        self._roster = roster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: object, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> Port:
        """As `IReactorTCP` has it."""
        return self._port(factory)

    def listenSSL(
        self,
        port: object,
        factory: IProtocolFactory,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Port:
        """As `IReactorSSL` has it."""
        made = self._port(TLSMemoryBIOFactory(contextFactory, False, factory))
        made._type = "TLS"
        return made

    def listenUNIX(
        self,
        address: object,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> Port:
        """As `IReactorUNIX` has it."""
        return self._port(factory)

    def listenAnyAddress(self, factory: IProtocolFactory) -> Port:
        """As `listening.AnyAddressEndpoint` wants it."""
        return self._port(factory)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Port:
        """As `IReactorSocket` has it."""
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
            port._realPortNumber = name[1]
        # As its own startListening does, which would bind.
        factory.doStart()
        port.connected = True
        port.socket = listener
        port.fileno = listener.fileno
        port.numberAccepts = 100
        port.startReading()
        made: Port = port
        return made
