"""Poll the sockets of all connections of a service's ports together.

Twisted's reactor handles each event within a log context of its own, which is a third of the cost
of a small message. Here all connections are one event for the reactor: their sockets are in an
epoll set of ours, and the reactor polls the descriptor of that set. Octets that are sent while
events are handled leave at the end of the turn. So messages of many senders to one connection
leave in one write, and the peer is woken once.

Transports read, write and end as under the reactor itself, with two differences. A connection
that closed in good order ends in the same turn. Lines that code writes to the old
`twisted.python.log` begin with `wsservice`, not with the connection's name.

Connections stay with the reactor if the system has no epoll or the reactor has no descriptors.

See docs/decisions/polling.md.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.internet.tcp import Port as TCPPort
from twisted.python.failure import Failure
from zope.interface import implementer

from ..clock import monotonic_of
from ..log.peer import PeerLogger
from ..private.of_twisted import PollsTogether, can_poll
from .transports import readable
from .turns import BEGINNING_SECONDS, NOTABLE_SECONDS, TOGETHER_SECONDS, Turns

_AT_ONCE = 64
"""Connections that are served before the reactor's timers and other descriptors."""

_log = PeerLogger(namespace="wsservice")

# Made once for all, as Twisted's reactor does, since each new Failure looks at the stack.
_DONE = Failure(CONNECTION_DONE)

_IN = getattr(select, "EPOLLIN", 0)
_OUT = getattr(select, "EPOLLOUT", 0)
_RESET = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


@implementer(IReadDescriptor)
class Poller(PollsTogether):
    """Stands between transports and the reactor: a reactor for them, and a reader for it.

    The reactor has it as a reader only while it polls sockets. Raises `AttributeError` if the
    system has no epoll.
    """

    def __init__(self, reactor: Any, turns: Turns) -> None:
        self._reactor = reactor
        self._seconds = monotonic_of(reactor)
        self._gathering = turns.gathering
        self._turns = turns
        turns.poll_by(self)
        self._epoll = select.epoll()
        self._reads: dict[int, Any] = {}
        self._writes: dict[int, Any] = {}
        self._serving = False
        self._ending: list[Any] = []

    # For transports

    def __getattr__(self, name: str) -> Any:
        # Transports call `callLater` and more, and behaviours may call anything of a reactor.
        return getattr(self._reactor, name)

    def addReader(self, reader: Any) -> None:
        """Poll a transport for reading (Twisted's `IReactorFDSet`)."""
        self._add(reader, self._reads, self._writes, _IN)

    def addWriter(self, writer: Any) -> None:
        """Poll a transport for writing (Twisted's `IReactorFDSet`)."""
        self._add(writer, self._writes, self._reads, _OUT)

    def removeReader(self, reader: Any) -> None:
        """Stop polling a transport for reading. Idempotent."""
        self._remove(reader, self._reads, self._writes, _OUT)

    def removeWriter(self, writer: Any) -> None:
        """Stop polling a transport for writing. Idempotent."""
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
        self._turns.forget_event(fd)
        if fd in others:
            self._epoll.modify(fd, left)
        else:
            self._epoll.unregister(fd)
            if not self._reads and not self._writes:
                self._reactor.removeReader(self)

    # For the reactor

    def fileno(self) -> int:
        """Return the descriptor of the epoll set, which can be read while a socket is ready."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return the beginning of lines in Twisted's old log."""
        return "wsservice"

    def doRead(self) -> None:
        """Handle the events of connections that are ready, up to 64 of them and 4 ms."""
        turns = self._turns
        if turns.crowded:
            turns.hurry()
            return
        events = self._epoll.poll(0, _AT_ONCE)
        if turns.marks:
            events = turns.in_order(events)
        reads, gathering, seconds = self._reads, self._gathering, self._seconds
        ending = self._ending
        gathering.under_way = self._serving = True
        before = seconds()
        begins, until = before + BEGINNING_SECONDS, before + TOGETHER_SECONDS
        ready = iter(events)
        for fd, event in ready:
            transport = reads.get(fd)
            if event == _IN and transport is not None:
                try:
                    why = transport.doRead()
                except BaseException as error:  # the reactor catches the same
                    _log.failure("cannot read")
                    why = error
                if why:
                    self._end(transport, why)
            else:
                self._serve(fd, event)
            if ending:
                self._end_those()
            now = seconds()
            if now - before >= NOTABLE_SECONDS:
                turns.note(fd, now - before)
            before = now
            if now >= until:
                self._send_gathered()
                gathering.under_way = True
                before = seconds()
                until = before + TOGETHER_SECONDS
                if before >= begins:
                    turns.leave(self._still_polled(ready))
        self._send_gathered()
        if ending:
            self._end_those()
        self._serving = False

    def _still_polled(self, ready: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        # The kernel gives the descriptor of a connection that was closed in this turn to the next
        # one, which would get an event that is not its own.
        return [each for each in ready if each[0] in self._reads or each[0] in self._writes]

    # For `turns`

    def poll(self, most: int) -> list[tuple[int, int]]:
        """Return the descriptors that are ready now, and their events."""
        return self._epoll.poll(0, most)

    def serve(self, fd: int, event: int) -> None:
        """Handle an event of a descriptor, as the reactor would."""
        self._serving = True
        self._serve(fd, event)
        if self._ending:
            self._end_those()
        self._serving = False

    def end(self, transport: Any) -> bool:
        """End a connection after the event that is being handled.

        The kernel must have all octets that were sent. Returns False if no event is being handled,
        or if the transport is not polled here. Twisted's `loseConnection` would wait until the
        socket can be written, which takes four calls of `epoll_ctl`, an empty send and a timer.
        """
        if not self._serving or transport.reactor is not self:
            return False
        self._ending.append(transport)
        return True

    def _serve(self, fd: int, event: int) -> None:
        transport = self._reads.get(fd) or self._writes.get(fd)
        if transport is None:  # an earlier event of this turn closed it
            return
        if event & _RESET == _RESET and self._turns.crowded:
            # The kernel keeps up to 6 MB that a peer sent before its reset. A million pongs fit,
            # which is 6 s of CPU time, and nobody waits for answers. With 50 such connections,
            # descriptors were still taken after 45 s.
            self._end(transport, CONNECTION_LOST)
            return
        try:
            self.read_or_write(transport, fd, event)
        except Exception:
            _log.failure("cannot end a connection")

    def _end_those(self) -> None:
        while self._ending:
            try:
                self._ending.pop().connectionLost(_DONE)
            except Exception:
                _log.failure("cannot end a connection")

    def waiting(self, fd: int) -> int:
        """Return how many octets wait in the kernel to be read, 0 if that is unknown."""
        return readable(fd)

    def _end(self, transport: Any, why: BaseException) -> None:
        try:
            self.disconnect(transport, why, True)
        except Exception:
            _log.failure("cannot end a connection")

    def _send_gathered(self) -> None:
        try:
            self._gathering.end()
        except Exception:
            # A write may tell a producer to pause, whose code may raise.
            _log.failure("cannot write")

    def connectionLost(self, reason: Failure) -> None:
        """End each connection. Twisted calls this when the reactor stops."""
        for transport in {*self._reads.values(), *self._writes.values()}:
            self.removeReader(transport)
            self.removeWriter(transport)
            try:
                transport.connectionLost(reason)
            except Exception:
                _log.failure("cannot end a connection")


def poll_together(ports: Iterable[Any], turns: Turns) -> None:
    """Make one `Poller` poll the connections of all ports of Twisted's own.

    Ports of plugins are left as they are. `turns` decides the order of connections.
    """
    if not can_poll():
        return
    polled = [
        port
        for port in ports
        if isinstance(port, TCPPort) and IReactorFDSet.providedBy(port.reactor)
    ]
    if polled:
        poller = Poller(polled[0].reactor, turns)
        for port in polled:
            _poll_by(port, poller, turns)


def _poll_by(port: TCPPort, poller: Poller, turns: Turns) -> None:
    make: Callable[..., Connection] = port.transport

    def transport(*args: Any) -> Connection:
        *most, _ = args  # the last argument is the reactor
        made = make(*most, poller)
        # The descriptor may have been another connection's, whose mark this one must not inherit.
        turns.begin(made.fileno())
        return made

    port.transport = transport  # type: ignore[assignment]  # Twisted calls it like a class.
