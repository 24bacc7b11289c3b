"""A worker, seen by its parent: its process, the bus to it, its connections."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...escape import escape_once
from ...server.admission import Admission
from ..wire import passing, records
from ..wire.bus import Bus, connect
from ..wire.coding import BusQuestion, Reply, handler, unknown
from ..wire.framing import MessageError, TooLongError
from ..wire.messages import (
    FIRST,
    PARENTS_SIGNALS,
    DeliveredCounts,
    Publication,
    is_publication,
)
from ..wire.reports import (
    AskHistory,
    AskPresence,
    AskSeat,
    AskTicket,
    ChannelsChanged,
    ConnectionsChanged,
    LastFigures,
    Leaving,
    NoReply,
    Pong,
    Ready,
    StartFailed,
    TraceEvent,
    from_worker,
)
from .output import WorkerOutput
from .program import Program
from .requests import Unanswered

_LAST_WORDS = 1.0
"""Seconds to read the rest of a process's output after it has ended."""

T = TypeVar("T")

_log = Logger(namespace="wsservice")


class State(Enum):
    """The state of a worker."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    """It serves its connections to their end, and gets no more."""
    OVER = "over"


class WorkerOwner:
    """The receiver of a worker's events. The methods here do nothing: override them."""

    def ready(self, worker: Worker) -> None:
        """Note that a worker serves."""

    def failed(self, worker: Worker, problem: str) -> None:
        """Note that a worker cannot serve, and ends."""

    def asks_to_leave(self, worker: Worker) -> None:
        """Note that a worker was told to end, by a signal from outside."""

    def ended(self, worker: Worker, how: str) -> None:
        """Note that a worker's process is over. `how` says in words how it ended."""

    def counted(self, worker: Worker, left: Sequence[Admission]) -> None:
        """Note that a worker took connections, or that those in `left` are over."""

    def published(self, worker: Worker, body: bytes) -> None:
        """Pass on a publication of a worker."""

    def asked(self, worker: Worker, message: AskHistory) -> None:
        """Answer a worker's question about the history."""

    def presence_asked(self, worker: Worker, message: AskPresence) -> None:
        """Answer a worker's question about the connections on a channel in the whole service."""

    def seat_asked(self, worker: Worker, message: AskSeat) -> None:
        """Answer a worker's question whether a user may have one more connection."""

    def ticket_asked(self, worker: Worker, message: AskTicket) -> None:
        """Answer a worker with the user of a ticket, which is used by that."""

    def came_and_left(self, worker: Worker, came: Sequence[str], left: Sequence[str]) -> None:
        """Note on which channels a worker got its first connection, or lost its last one."""

    def figures_of(self, worker: Worker, figures: Mapping[str, Any]) -> None:
        """Take the last figures of a worker."""

    def traced(self, number: int, event: str | None) -> None:
        """Pass on an event of a traced connection; None ends the trace."""


class Worker(ProcessProtocol):
    """A worker's process. The constructor starts it."""

    def __init__(self, number: int, program: Program, owner: WorkerOwner) -> None:
        self.number = number
        self.state = State.STARTING
        self.pid = 0
        self.connections: dict[int, Admission] = {}
        #: Those that it did not take yet, in the order in which they were handed over.
        self.untaken: dict[int, None] = {}
        #: The number of connections for which it has descriptors.
        self.room = 0
        #: The number of unanswered pings in a row.
        self.silence = 0
        self.problem = ""
        self._reactor = program.reactor
        self._owner = owner
        # The questions that it was asked, each with the function to call with the answer.
        self._answers: dict[int, tuple[BusQuestion[Any], Callable[[Any], None]]] = {}
        # True if the bus to it is lost, so that it no longer answers.
        self._is_mute = False
        self._output = WorkerOutput(self)
        self._how: str | None = None
        self._last_call: IDelayedCall | None = None
        self._open_logs = 2
        self._pairs = [passing.pair() for _ in range(program.ports)]
        self.bus = Bus(program.reactor, self._heard, self._bus_lost)
        self._begin(program)

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    @property
    def load(self) -> int:
        """Return the number of its connections, taken or not."""
        return len(self.connections)

    # Begin

    def _begin(self, program: Program) -> None:
        ours, theirs = socket.socketpair()
        logs = [records.pair(), records.pair()]
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        handed = [end for _, end in self._pairs]
        given = [theirs, *(writing for _, writing in logs), *handed]
        descriptors: dict[int, Any] = {0: nothing, 1: "r", 2: "r"}
        descriptors |= {FIRST + place: end.fileno() for place, end in enumerate(given)}
        arguments = [self.number, program.ports, program.reactors_module]
        try:
            with _blocked(PARENTS_SIGNALS):
                process = program.reactor.spawnProcess(
                    self,
                    sys.executable,
                    # -m alone would search the current folder first for every module.
                    [sys.executable, "-P", "-m", "wsservice.workers.child", *map(str, arguments)],
                    env=None,
                    childFDs=descriptors,
                )
            self.pid = process.pid
            self.bus.other = str(self)
        except OSError:
            for end in [ours, *sum([*logs, *self._pairs], ())]:
                end.close()
            raise
        finally:
            os.close(nothing)
            theirs.close()
            for _, writing in logs:
                writing.close()
        copiers = (program.copy_log, program.copy_messages)
        self._readers = [
            records.RecordReader(reading, program.reactor, copy, self._log_over)
            for (reading, _), copy in zip(logs, copiers, strict=True)
        ]
        connect(self.bus, ours, program.reactor)
        self.bus.say(program.start)

    # Connections

    def hand(self, port: int, connection: socket.socket, handing: passing.Handing) -> bool:
        """Hand a connection of a port over. Return False if there is no room for it now."""
        try:
            return passing.hand(self._pairs[port][0], connection.fileno(), handing)
        except OSError:  # the worker is gone; processExited follows
            return False

    def took(self, number: int, admission: Admission) -> None:
        """Note that the worker was handed a connection."""
        self.connections[number] = admission
        self.untaken[number] = None

    def take_back(self, most: int = sys.maxsize) -> list[tuple[int, socket.socket, Any, Admission]]:
        """Take back connections that it did not take: port, socket, address, admission."""
        found: list[tuple[int, socket.socket, Any, Admission]] = []
        for port, (_, theirs) in enumerate(self._pairs):
            while len(found) < most:
                try:
                    taken = passing.take(theirs)
                except OSError:  # none is left
                    break
                if taken is None:
                    break
                connection, handing = taken
                admission = self.connections.pop(handing.number, None)
                self.untaken.pop(handing.number, None)
                if admission is not None and connection is not None:
                    found.append((port, connection, handing, admission))
        return found

    # The bus

    def ask(self, question: BusQuestion[T], answered: Callable[[T | Unanswered], None]) -> None:
        """Ask a question. `answered` is called with the answer or an `Unanswered`."""
        if self._is_mute:
            answered(Unanswered.GONE)
            return
        self._answers[question.request] = (question, answered)
        try:
            self.bus.say(question)
        except TooLongError as error:
            _log.error(
                "{worker}: cannot be asked {what!r}: {error}",
                worker=str(self),
                what=question.kind,
                error=str(error),
            )
            self._settle(question.request, Unanswered.TOO_LONG)

    def pass_on(
        self,
        message: Publication,
        answered: Callable[[DeliveredCounts | Unanswered], None],
        body: bytes,
    ) -> bool:
        """Send a publication as a question. `body` is its body, made once for all workers.

        Return False if there is no room for it.
        """
        if self._is_mute:
            answered(Unanswered.GONE)
            return True
        self._answers[message.request] = (message, answered)
        room = self.bus.publish(body)
        if not room:
            self._settle(message.request, Unanswered.NO_ROOM)
        return room

    def forget(self, request: int) -> None:
        """Stop waiting for an answer."""
        self._answers.pop(request, None)

    def _settle(self, request: int, why: Unanswered) -> None:
        if request in self._answers:
            _, answered = self._answers.pop(request)
            answered(why)

    def _heard(self, body: bytes) -> None:
        if is_publication(body):
            self._owner.published(self, body)
            return
        message = from_worker(body)
        act = _HEARD.get(type(message))
        if act is None:
            raise unknown(message.kind)
        act(self, message)

    def _is_ready(self, message: Ready) -> None:
        self.room = message.room
        if self.state is State.STARTING:
            self.state = State.READY
            self._owner.ready(self)

    def _has_failed(self, message: StartFailed) -> None:
        self.problem = escape_once(message.problem)
        self._owner.failed(self, self.problem)

    def _has_counted(self, message: ConnectionsChanged) -> None:
        for number in message.taken:
            self.untaken.pop(number, None)
        gone = [self.connections.pop(number, None) for number in message.left]
        self.silence = 0
        self._owner.counted(self, [each for each in gone if each is not None])

    def _has_answered(self, message: Reply) -> None:
        self.silence = 0
        if message.request in self._answers:
            question, _ = self._answers[message.request]
            try:
                answer = question.answer_of(message.answer)
            except MessageError as error:
                # A worker may be of a later build: one answer that makes no sense ends no worker.
                _log.error("{worker}: {error}", worker=str(self), error=str(error))
                self._settle(message.request, Unanswered.REFUSED)
                return
            _, answered = self._answers.pop(message.request)
            answered(answer)

    def _has_refused(self, message: NoReply) -> None:
        self.silence = 0
        self._settle(message.request, Unanswered.REFUSED)

    def _has_ponged(self, _message: Pong) -> None:
        self.silence = 0

    def _has_asked(self, message: AskHistory) -> None:
        self._owner.asked(self, message)

    def _has_asked_presence(self, message: AskPresence) -> None:
        self._owner.presence_asked(self, message)

    def _has_asked_seat(self, message: AskSeat) -> None:
        self._owner.seat_asked(self, message)

    def _has_asked_ticket(self, message: AskTicket) -> None:
        self._owner.ticket_asked(self, message)

    def _has_channels(self, message: ChannelsChanged) -> None:
        self._owner.came_and_left(self, message.came, message.left)

    def _has_figures(self, message: LastFigures) -> None:
        self._owner.figures_of(self, message.figures)

    def _has_traced(self, message: TraceEvent) -> None:
        self._owner.traced(message.trace, message.event)

    def _is_leaving(self, _message: Leaving) -> None:
        self._owner.asks_to_leave(self)

    def _bus_lost(self) -> None:
        self._is_mute = True
        answers, self._answers = self._answers, {}
        for _, answered in answers.values():
            answered(Unanswered.GONE)
        # A worker without a bus is useless, so kill it. The delay is for one that ends by itself.
        if self.state in (State.STARTING, State.READY):
            self._reactor.callLater(_LAST_WORDS, self.signal, signal.SIGKILL)

    # The process

    def signal(self, number: int) -> None:
        """Send its process a signal, if it runs."""
        if self.state is not State.OVER and self.transport is not None:
            with contextlib.suppress(Exception):  # it is over; processExited follows
                self.transport.signalProcess(number)

    def finish(self) -> None:
        """Make it end as soon as its log is written."""
        self.signal(signal.SIGQUIT)

    def finish_logs(self) -> bool:
        """Write the lines that it has logged, at once. Return True if its logs have ended."""
        over = [each.finish() for each in self._readers]  # a list, so that each is called
        return all(over)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log its standard output and error, to which code other than Python may write."""
        self._output.feed(childFD, data)

    def processExited(self, reason: Failure) -> None:
        """Note that its process is over. Its output may not be read yet."""
        # A program that it started may keep these descriptors open for long.
        self._last_call = self._reactor.callLater(_LAST_WORDS, self._end, reason)

    def processEnded(self, reason: Failure) -> None:
        """Note that its process is over, and its standard output and error are closed."""
        self._output.finish()
        self._how = self._output.ending(reason)
        self._end_if_over()

    def _log_over(self) -> None:
        self._open_logs -= 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._how is not None and not self._open_logs and self._last_call is not None:
            self._last_call.cancel()
            self._over(self._how)

    def _end(self, reason: Failure) -> None:
        """Finish, even if other processes hold its descriptors."""
        self.finish_logs()
        self._over(self._output.ending(reason))

    def _over(self, how: str) -> None:
        self._last_call = None
        self.state = State.OVER
        self._owner.ended(self, self.problem or how)

    def close(self) -> None:
        """Close all descriptors to it. Call `take_back` before."""
        for ends in self._pairs:
            for end in ends:
                end.close()
        for reader in self._readers:
            reader.close()
        if self.bus.transport is not None:
            self.bus.transport.abortConnection()


_HEARD = dict(
    [
        handler(Ready, Worker._is_ready),
        handler(StartFailed, Worker._has_failed),
        handler(ConnectionsChanged, Worker._has_counted),
        handler(Reply, Worker._has_answered),
        handler(NoReply, Worker._has_refused),
        handler(Pong, Worker._has_ponged),
        handler(Leaving, Worker._is_leaving),
        handler(AskHistory, Worker._has_asked),
        handler(AskPresence, Worker._has_asked_presence),
        handler(AskSeat, Worker._has_asked_seat),
        handler(AskTicket, Worker._has_asked_ticket),
        handler(ChannelsChanged, Worker._has_channels),
        handler(LastFigures, Worker._has_figures),
        handler(TraceEvent, Worker._has_traced),
    ]
)


@contextlib.contextmanager
def _blocked(signals: Iterable[int]) -> Iterator[None]:
    """Block signals, in this process and in each that is started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
