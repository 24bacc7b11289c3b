"""One run of the program: connect, talk, and end with an exit status."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.python.failure import Failure

from ..errors import ConfigError, ConnectError, HandshakeError, TLSError, WSServiceError
from ..escape import escape
from ..policy import CloseCode
from .command import Command
from .connecting import open_connection
from .goal import Goal
from .outgoing import Message, Outgoing
from .printing import as_printed
from .status import Status
from .talk import Talk

_LAST_WORDS = 0.5
"""Seconds that what was received has to be printed when the time is up."""


class Face(Protocol):
    """Who is talked to at this end: a script, a person at a terminal, the tutorial.

    It is told by these what happens, and calls `Session.send` and the like.
    """

    def opened(self, session: Session) -> None:
        """The connection is open: what there is to say may be said."""

    def received(self, payload: bytes, isBinary: bool) -> None:
        """A message came in. Raises `OSError` when nobody takes it any more."""

    def say(self, text: str) -> None:
        """The program's own words, one line, printable."""

    def mention(self, text: str) -> None:
        """The same, of what is in order: a script does not want to hear it."""

    def ended(self) -> Deferred[None] | None:
        """The run is over: put the terminal in order. May fire when that is done."""


class Session:
    """One run of the program."""

    def __init__(self, reactor: Any, command: Command, face: Face) -> None:
        self.reactor = reactor
        self.command = command
        self._face = face
        self._goal = Goal(
            count=command.count, until=command.until, expect_close=command.expect_close
        )
        self._outgoing = Outgoing(command.messages)
        self._ended: Deferred[int] = Deferred()
        # Decided before the connection is over, and that of a run that is.
        self._verdict: int | None = None
        self._status: int | None = None
        self._interrupted = False
        self._reconnects = False
        self._output_is_full = False
        self._calls: list[IDelayedCall] = []
        self._connecting: Deferred[Any] | None = None
        self.connection: Talk | None = None

    def run(self) -> Deferred[int]:
        """Fires with the exit status."""
        if self.command.timeout:
            self._later(self.command.timeout, self._timed_out)
        if self.command.config.insecure:
            self._face.say("WARNING: --insecure: the server may be anybody, nothing is verified")
        self._connect()
        return self._ended

    def _connect(self) -> None:
        protocol = type("Talk", (Talk,), {"session": self})
        self._connecting = maybeDeferred(
            open_connection, self.command.config, protocol, self.reactor
        )
        self._connecting.addErrback(self._not_connected)

    # What the face asks for

    @property
    def is_open(self) -> bool:
        """Whether what is sent now will be."""
        return self.connection is not None and self.connection.state == Talk.STATE_OPEN

    @property
    def waiting(self) -> int:
        """Octets that the server did not take yet."""
        in_queue = 0 if self.connection is None else self.connection.octets_waiting
        return in_queue + self._outgoing.octets_waiting

    def send(self, payload: bytes, isBinary: bool = False) -> None:
        """Send a message, after those that wait already."""
        self._outgoing.put([(payload, isBinary)])

    def send_all(self, messages: Iterable[Message]) -> None:
        """Send messages, in few writes."""
        self._outgoing.put(messages)

    def feed_from(self, source: IPushProducer) -> None:
        """Tell a source of messages to pause while the server takes no more."""
        self._outgoing.feed_from(source)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close when all is sent, and wait for the server to do so too."""
        self._outgoing.then(lambda: self._close(code, reason))

    def reconnect(self) -> None:
        """Close, and connect anew."""
        self._reconnects = True
        self.close()

    def input_ended(self) -> None:
        """There is nothing more to say: close, unless something is still waited for."""
        if self._goal.waits:
            return
        if self.command.linger:
            self._later(self.command.linger, self.close)
        else:
            self.close()

    def fail(self, status: int, problem: str) -> None:
        """Say what is wrong, and close; the run ends with that status."""
        self._face.say(problem)
        self._decide(status)
        self.close()

    def output_full(self) -> None:
        """Much waits to be printed: the server is not read until there is room."""
        self._output_is_full = True
        if self.connection is not None and not self._interrupted:
            self.connection.pause_reading()

    def output_has_room(self) -> None:
        """It was printed."""
        self._output_is_full = False
        if self.connection is not None:
            self.connection.resume_reading()

    def output_failed(self, error: OSError) -> None:
        """Nothing can be printed any more."""
        status = Status.OK
        # Else whoever read it has enough: `... | head -1`.
        if error.errno != errno.EPIPE:
            self._face.say(f"standard output cannot be written, {error.strerror}")
            status = Status.NO_OUTPUT
        if self._status is None:
            self._decide(status)
            self._close_now()
        elif self._status == Status.OK:
            self._status = status

    def interrupt(self, number: int) -> None:
        """Ctrl-C: close and wait; the second time, do not wait."""
        if self._interrupted or self._status is not None:
            self._status = 128 + number
            self._finish()
            return
        self._interrupted = True
        self._verdict = 128 + number
        if self.connection is not None:
            # Its answer to our close is behind what waits to be printed.
            self.connection.resume_reading()
            self._close_now()
        elif self._connecting is not None:
            self._connecting.cancel()

    # What the connection tells

    @property
    def wants_the_rest(self) -> bool:
        """Whether what comes after our close frame is of interest."""
        return self._verdict is None

    def opened(self, connection: Talk) -> None:
        """The connection is open."""
        self.connection = connection
        self._outgoing.begin(connection)
        self._face.opened(self)

    def received(self, payload: bytes, isBinary: bool) -> None:
        """A message came in."""
        if self._goal.enough or (self._interrupted and self._output_is_full):
            return
        try:
            self._face.received(payload, isBinary)
        except OSError as error:
            self.output_failed(error)
        printed = as_printed(payload, isBinary, self.command.binary)
        if self._goal.received(printed) and not self._goal.waits:
            self._decide(Status.OK)
            self._close_now()

    def closed(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is over."""
        if self._status is not None:
            return
        if self._reconnects and self._verdict is None:
            self._reconnects = False
            self.connection = None
            self._connect()
            return
        self._outgoing.stop()
        if self._verdict == Status.OK:
            status = Status.OK
        elif wasClean:
            code = CloseCode.NO_STATUS if code is None else code
            status = self._closed_with(code, reason, self._asked_for(code))
        else:
            status = self._broken_off(self.connection)
        self._end(status if self._verdict is None else self._verdict)

    def _asked_for(self, code: int) -> bool:
        """Whether the server only answered a close with this code."""
        mine = self.connection
        return mine is not None and mine.closedByMe and mine.localCloseCode == code

    def _closed_with(self, code: int, reason: str | None, ours: bool) -> Status:
        normal = ours or code in (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)
        said = "closed" if ours else "the server closed"
        said += f" with {code}" if code != CloseCode.NO_STATUS else ""
        said += f" ({escape(reason)})" if reason else ""
        if self._verdict is None and not self._goal.reached(code):
            but = f", not with {self._goal.expect_close}"
            self._face.say(said + (self._goal.progress or but))
            return Status.NOT_IN_TIME if normal else Status.OTHER_CODE
        expected = code == self._goal.expect_close
        if ours or expected or code in (CloseCode.NORMAL, CloseCode.NO_STATUS):
            self._face.mention(said)
        else:
            self._face.say(said)
        return Status.OK if normal or expected else Status.OTHER_CODE

    def _broken_off(self, connection: Any) -> Status:
        if connection.wasCloseHandshakeTimeout:
            seconds = self.command.config.close_timeout
            self._face.say(f"the server did not answer our close within {seconds:g} s")
            return Status.NOT_IN_TIME
        if connection.failedByMe:
            code = connection.localCloseCode
            self._face.say(f"closed with {code}: {escape(str(connection.wasNotCleanReason))}")
            return Status.OTHER_CODE
        self._face.say(f"the connection was lost without a close frame{self._goal.progress}")
        return Status.LOST

    def _not_connected(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            self._end(Status.NOT_IN_TIME if self._verdict is None else self._verdict)
            return
        failure.trap(WSServiceError)
        error = failure.value
        self._face.say(str(error))
        statuses = {
            ConfigError: Status.USAGE,
            TLSError: Status.NO_TLS,
            ConnectError: Status.NO_CONNECTION,
            HandshakeError: Status.REFUSED,
        }
        self._end(next(statuses[kind] for kind in statuses if isinstance(error, kind)))

    # The end

    def _decide(self, status: int) -> None:
        """Whatever becomes of the connection, the run ends with this, unless decided before."""
        if self._verdict is None:
            self._verdict = int(status)

    def _close(self, code: int, reason: str) -> None:
        if self.connection is not None:
            self.connection.sendClose(int(code), reason or None)

    def _close_now(self) -> None:
        """Close, and forget what was to be sent before."""
        self._outgoing.stop()
        self._close(CloseCode.NORMAL, "")

    def _timed_out(self) -> None:
        seconds = self.command.timeout
        while_connecting = "" if self.connection else " while connecting"
        self._face.say(f"timed out after {seconds:g} s{while_connecting}{self._goal.progress}")
        self._verdict = int(Status.NOT_IN_TIME)
        if self._status is not None:  # it only waits for what is to be printed
            self._status = self._verdict
            self._finish()
        elif self.connection is None and self._connecting is not None:
            self._connecting.cancel()
        else:
            self._close_now()
            self._end(self._verdict)
            self._later(_LAST_WORDS, self._finish)

    def _later(self, seconds: float, function: Any) -> None:
        self._calls.append(self.reactor.callLater(seconds, function))

    def _end(self, status: int) -> None:
        """The run is over, once all is printed."""
        self._status = int(status)
        maybeDeferred(self._face.ended).addCallback(lambda _: self._finish())

    def _finish(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        if not self._ended.called and self._status is not None:
            self._ended.callback(self._status)
