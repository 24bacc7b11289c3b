"""A worker, as its parent knows it: its process, the bus to it, the connections it has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import attrs
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..escape import escape
from ..policy import Admission
from . import passing, records
from .bus import Bus, connect
from .messages import FIRST, MessageError, is_publication, parsed

_SHOWN = 500
"""Characters shown of a line that a worker writes to standard error."""

_LAST_WORDS = 1.0
"""Seconds in which is read what a process has said before it ended."""

_log = Logger(namespace="wsservice")


class State(Enum):
    """How far a worker is."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    """It serves the connections that it has, to their end, and gets no more."""
    OVER = "over"


class Owner:
    """Who is told what becomes of a worker. Each of these does nothing by itself."""

    def ready(self, worker: Worker) -> None:
        """It serves."""

    def failed(self, worker: Worker, problem: str) -> None:
        """It cannot serve, and ends."""

    def asks_to_leave(self, worker: Worker) -> None:
        """It was told to end, by somebody else."""

    def ended(self, worker: Worker, how: str) -> None:
        """Its process is over."""

    def counted(self, worker: Worker, left: Sequence[Admission]) -> None:
        """It took connections, or some of its connections are over."""

    def published(self, worker: Worker, body: bytes) -> None:
        """It published something."""

    def asked(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """It asks for some of the history."""

    def came_and_left(self, worker: Worker, came: Sequence[str], left: Sequence[str]) -> None:
        """It has connections on some channels, and on others none any more."""

    def figures_of(self, worker: Worker, figures: dict[str, Any]) -> None:
        """It says for the last time how much of everything there was."""

    def traced(self, number: int, event: str | None) -> None:
        """It says what happened on a connection that is traced; None ends that."""


@attrs.frozen
class Program:
    """How to start a worker: what all of them are given."""

    start: Mapping[str, Any]
    """What it is told first."""
    ports: int
    """How many ports it has."""
    copy_log: Callable[[bytes], None]
    copy_messages: Callable[[bytes], None]
    reactor: Any

    @property
    def reactors_module(self) -> str:
        """The module of the reactor that the parent runs on."""
        return type(self.reactor).__module__


class Worker(ProcessProtocol):
    """A worker's process. Begins when it is made."""

    def __init__(self, number: int, program: Program, owner: Owner) -> None:
        self.number = number
        self.state = State.STARTING
        self.pid = 0
        self.connections: dict[int, Admission] = {}
        #: Of these, those that it did not take yet, in the order of their handing.
        self.untaken: dict[int, None] = {}
        #: How many connections it has descriptors for.
        self.room = 0
        #: Pings in a row that it did not answer.
        self.silence = 0
        self.problem = ""
        self._reactor = program.reactor
        self._owner = owner
        self._answers: dict[int, Callable[[Any], None]] = {}
        self._last_words = ""
        self._unread = {1: b"", 2: b""}
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
        """How many connections it has, taken or not."""
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
            process = program.reactor.spawnProcess(
                self,
                sys.executable,
                # Not -m alone: that would look for every module in the current folder first.
                [sys.executable, "-P", "-m", "wsservice.worker", *map(str, arguments)],
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
        self.bus.say("start", **program.start)

    # Connections

    def hand(self, port: int, connection: socket.socket, handing: passing.Handing) -> bool:
        """Hand a connection of a port over; False where there is no room for it now."""
        try:
            return passing.hand(self._pairs[port][0], connection.fileno(), handing)
        except OSError:  # it is gone, as will be told
            return False

    def took(self, number: int, admission: Admission) -> None:
        """It was handed a connection."""
        self.connections[number] = admission
        self.untaken[number] = None

    def take_back(self, most: int = sys.maxsize) -> list[tuple[int, socket.socket, Any, Admission]]:
        """The connections that it did not take: port, socket, what was said of it, admission."""
        found: list[tuple[int, socket.socket, Any, Admission]] = []
        for port, (_, theirs) in enumerate(self._pairs):
            while len(found) < most:
                try:
                    taken = passing.take(theirs)
                except OSError:  # no more
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

    def ask(self, request: int, answered: Callable[[Any], None], what: str, **members: Any) -> None:
        """Say something whose answer is waited for; it is None where it does not come."""
        self._answers[request] = answered
        self.bus.say(what, request=request, **members)

    def ask_body(self, request: int, answered: Callable[[Any], None], body: bytes) -> bool:
        """The same with a publication; False where there is no room for it."""
        self._answers[request] = answered
        room = self.bus.publish(body)
        if not room:
            self._answer(request, None)
        return room

    def forget(self, request: int) -> None:
        """Its answer is not waited for any more."""
        self._answers.pop(request, None)

    def _answer(self, request: int, answer: Any) -> None:
        answered = self._answers.pop(request, None)
        if answered is not None:
            answered(answer)

    def _heard(self, body: bytes) -> None:
        if is_publication(body):
            self._owner.published(self, body)
            return
        message = parsed(body)
        heard = _HEARD.get(message["say"])
        if heard is None:
            raise MessageError(f"{message['say']!r} is not known")
        try:
            heard(self, message)
        except (LookupError, TypeError, ValueError) as error:
            raise MessageError(f"{message['say']!r}: {type(error).__name__}") from error

    def _is_ready(self, message: Mapping[str, Any]) -> None:
        self.room = int(message["room"])
        if self.state is State.STARTING:
            self.state = State.READY
            self._owner.ready(self)

    def _has_failed(self, message: Mapping[str, Any]) -> None:
        problem = str(message["problem"])
        self.problem = problem if problem.isprintable() else escape(problem)
        self._owner.failed(self, self.problem)

    def _has_counted(self, message: Mapping[str, Any]) -> None:
        for number in message["taken"]:
            self.untaken.pop(number, None)
        gone = [self.connections.pop(number, None) for number in message["left"]]
        self.silence = 0
        self._owner.counted(self, [each for each in gone if each is not None])

    def _has_answered(self, message: Mapping[str, Any]) -> None:
        self.silence = 0
        self._answer(message["request"], message["answer"])

    def _has_ponged(self, _message: Mapping[str, Any]) -> None:
        self.silence = 0

    def _has_asked(self, message: Mapping[str, Any]) -> None:
        self._owner.asked(self, message)

    def _has_channels(self, message: Mapping[str, Any]) -> None:
        self._owner.came_and_left(self, message["came"], message["left"])

    def _has_figures(self, message: Mapping[str, Any]) -> None:
        self._owner.figures_of(self, message["figures"])

    def _has_traced(self, message: Mapping[str, Any]) -> None:
        self._owner.traced(message["trace"], message["event"])

    def _is_leaving(self, _message: Mapping[str, Any]) -> None:
        self._owner.asks_to_leave(self)

    def _bus_lost(self) -> None:
        answers, self._answers = self._answers, {}
        for answered in answers.values():
            answered(None)
        # Whoever does not speak any more is no worker, whatever its process does; but one
        # that ends by itself has the time for it.
        if self.state in (State.STARTING, State.READY):
            self._reactor.callLater(_LAST_WORDS, self.signal, signal.SIGKILL)

    # The process

    def signal(self, number: int) -> None:
        """Send its process a signal, while there is one."""
        if self.state is not State.OVER and self.transport is not None:
            with contextlib.suppress(Exception):  # it is over, as will be told
                self.transport.signalProcess(number)

    def finish(self) -> None:
        """Have it end at once, but for what it has to log."""
        self.signal(signal.SIGQUIT)

    def finish_logs(self) -> bool:
        """Write what it logged so far, out of turn; whether that was all."""
        over = [each.finish() for each in self._readers]  # each, whatever those before it say
        return all(over)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It wrote to standard output or standard error, as what is no Python may."""
        *lines, rest = (self._unread[childFD] + data).split(b"\n")
        self._unread[childFD] = rest[-_SHOWN:]
        for line in lines:
            self._says(line)

    def _says(self, line: bytes) -> None:
        text = escape(line.decode(errors="replace").rstrip())[:_SHOWN]
        if text.strip():
            self._last_words = text.strip()
            _log.warn("{worker}: {text}", worker=str(self), text=text)

    def processExited(self, reason: Failure) -> None:
        """Its process is over, but what it said may not be read yet."""
        # A program that it started may have these descriptors for long.
        self._last_call = self._reactor.callLater(_LAST_WORDS, self._end, reason)

    def processEnded(self, reason: Failure) -> None:
        """Its process is over, and so are its standard output and error."""
        for rest in self._unread.values():
            self._says(rest)
        self._unread = {1: b"", 2: b""}
        self._how = self._ending(reason)
        self._end_if_over()

    def _ending(self, reason: Failure) -> str:
        how = _ending(reason)
        if self._last_words and not isinstance(reason.value, ProcessDone):
            how += f"; its last words: {self._last_words}"
        return how

    def _log_over(self) -> None:
        self._open_logs -= 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._how is not None and not self._open_logs and self._last_call is not None:
            self._last_call.cancel()
            self._over(self._how)

    def _end(self, reason: Failure) -> None:
        """End, whoever may hold its descriptors."""
        self.finish_logs()
        self._over(self._ending(reason))

    def _over(self, how: str) -> None:
        self._last_call = None
        self.state = State.OVER
        self._owner.ended(self, self.problem or how)

    def close(self) -> None:
        """Let go of what is left of it. What it did not take has to be taken back before."""
        for ends in self._pairs:
            for end in ends:
                end.close()
        for reader in self._readers:
            reader.close()
        if self.bus.transport is not None:
            self.bus.transport.abortConnection()


_HEARD: dict[str, Callable[[Worker, Mapping[str, Any]], None]] = {
    "ready": Worker._is_ready,
    "failed": Worker._has_failed,
    "counts": Worker._has_counted,
    "answer": Worker._has_answered,
    "pong": Worker._has_ponged,
    "leaving": Worker._is_leaving,
    "ask": Worker._has_asked,
    "channels": Worker._has_channels,
    "figures": Worker._has_figures,
    "traced": Worker._has_traced,
}


def _ending(reason: Failure) -> str:
    """How a process ended, in words."""
    error: Any = reason.value
    if isinstance(error, ProcessDone):
        return "ended with status 0"
    number = getattr(error, "signal", None)
    if number is None:
        return f"ended with status {getattr(error, 'exitCode', None)}"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"was ended by signal {number}"
