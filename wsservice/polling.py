"""The sockets of a port's connections, polled together.

Twisted's reactor works off each event within a log context of its own, which is a
third of what a small message costs. Here all connections of a port are one event
to it: their sockets are in an epoll of ours, whose descriptor is in the reactor's.
What they send while a turn's events are worked off leaves at its end, so that
what is said to one connection by many is one write, and a peer is woken once.

All else is Twisted's: each socket's transport reads, writes and ends as it does by
the reactor itself. What is logged meanwhile by the old `twisted.python.log` begins
with `wsservice` instead of the connection's name. Where there is no epoll, or no
reactor of descriptors, connections stay with the reactor.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.posixbase import _DisconnectSelectableMixin, _PollLikeMixin
from twisted.internet.tcp import Connection
from twisted.internet.tcp import Port as TCPPort
from twisted.python.failure import Failure
from zope.interface import implementer

from .log import PeerLogger
from .sending import Gathering

_AT_ONCE = 64
"""Connections that have their turn before the reactor's timers and other descriptors."""

_TOGETHER = 0.002
"""Seconds after which what was said so far leaves, though the turn is not over."""

_log = PeerLogger(namespace="wsservice")

_IN = getattr(select, "EPOLLIN", 0)
_OUT = getattr(select, "EPOLLOUT", 0)


@implementer(IReadDescriptor)
class Poller(_PollLikeMixin, _DisconnectSelectableMixin):
    """A reactor to transports, whose sockets it polls; one reader among others to the reactor.

    It is there only while it has sockets. Raises `AttributeError` where there is no epoll.
    """

    # Of Twisted's mixin.
    _POLL_DISCONNECTED = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
    _POLL_IN = _IN
    _POLL_OUT = _OUT

    def __init__(self, reactor: Any, gathering: Gathering) -> None:
        self._reactor = reactor
        self._gathering = gathering
        self._epoll = select.epoll()
        self._reads: dict[int, Any] = {}
        self._writes: dict[int, Any] = {}

    # What transports know

    def __getattr__(self, name: str) -> Any:
        # Of a reactor they need more, a behaviour's perhaps all of it.
        return getattr(self._reactor, name)

    def addReader(self, reader: Any) -> None:
        """As `IReactorFDSet` has it."""
        self._add(reader, self._reads, self._writes, _IN)

    def addWriter(self, writer: Any) -> None:
        """As `IReactorFDSet` has it."""
        self._add(writer, self._writes, self._reads, _OUT)

    def removeReader(self, reader: Any) -> None:
        """As `IReactorFDSet` has it."""
        self._remove(reader, self._reads, self._writes, _OUT)

    def removeWriter(self, writer: Any) -> None:
        """As `IReactorFDSet` has it."""
        self._remove(writer, self._writes, self._reads, _IN)

    def _add(self, who: Any, these: dict[int, Any], others: dict[int, Any], event: int) -> None:
        fd = who.fileno()
        if fd in these:
            return
        if fd in others:
            self._epoll.modify(fd, _IN | _OUT)
        else:
            self._epoll.register(fd, event)
            if not self._reads and not self._writes:
                self._reactor.addReader(self)
        these[fd] = who

    def _remove(self, who: Any, these: dict[int, Any], others: dict[int, Any], left: int) -> None:
        fd = who.fileno()
        if these.pop(fd, None) is None:
            return
        if fd in others:
            self._epoll.modify(fd, left)
        else:
            self._epoll.unregister(fd)
            if not self._reads and not self._writes:
                self._reactor.removeReader(self)

    # What the reactor knows

    def fileno(self) -> int:
        """The descriptor that can be read while a socket is ready."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """What lines of Twisted's old log begin with."""
        return "wsservice"

    def doRead(self) -> None:
        """Work off the events of now, of some connections if there are too many."""
        reads, gathering, seconds = self._reads, self._gathering, self._reactor.seconds
        gathering.under_way = True
        until = seconds() + _TOGETHER
        for fd, event in self._epoll.poll(0, _AT_ONCE):
            transport = reads.get(fd)
            if event == _IN and transport is not None:
                try:
                    why = transport.doRead()
                except BaseException as error:  # as the reactor has it
                    _log.failure("cannot read")
                    why = error
                if why:
                    self._end(transport, why)
            else:
                self._work_off(fd, event)
            if seconds() >= until:
                self._send_gathered()
                gathering.under_way = True
                until = seconds() + _TOGETHER
        self._send_gathered()

    def _work_off(self, fd: int, event: int) -> None:
        transport = self._reads.get(fd) or self._writes.get(fd)
        if transport is None:  # one before it has closed it
            return
        try:
            self._doReadOrWrite(transport, fd, event)
        except Exception:
            _log.failure("cannot end a connection")

    def _end(self, transport: Any, why: BaseException) -> None:
        try:
            self._disconnectSelectable(transport, why, True)
        except Exception:
            _log.failure("cannot end a connection")

    def _send_gathered(self) -> None:
        try:
            self._gathering.end()
        except Exception:
            # A producer's, told to pause.
            _log.failure("cannot write")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops: so it is for each connection."""
        for transport in {*self._reads.values(), *self._writes.values()}:
            self.removeReader(transport)
            self.removeWriter(transport)
            try:
                transport.connectionLost(reason)
            except Exception:
                _log.failure("cannot end a connection")


def poll_together(port: Any, gathering: Gathering) -> None:
    """Have a port's connections polled by a `Poller`, where it is one of Twisted's own."""
    if not isinstance(port, TCPPort) or not hasattr(select, "epoll"):
        return
    reactor: Any = port.reactor
    if not IReactorFDSet.providedBy(reactor):
        return
    poller = Poller(reactor, gathering)
    make: Callable[..., Connection] = port.transport

    def transport(*args: Any) -> Connection:
        *most, _ = args  # the last is the reactor
        return make(*most, poller)

    port.transport = transport  # type: ignore[assignment]  # Twisted calls it as it would a class.
