"""Run the program once: connect, talk, and end with an exit status."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer

from ..client.arrivals import Arrivals
from ..client.outbox import Payload, messages
from ..client.resuming import NOT_SPOKEN, Resuming
from ..client.staying import Staying
from ..config.close_codes import CloseCode
from ..errors import ConnectionClosed
from ..escape import escape
from ..log.peer import PeerLogger
from .command import Command
from .goal import Goal
from .outcome import close_code, is_answered, is_asked_for, outcome_of, outcome_of_failure
from .outgoing import Outgoing
from .printing import as_printed
from .status import Status
from .talk import Talk

_log = PeerLogger(namespace="wsservice")

_LAST_WORDS = 0.5
"""Seconds to print the received messages after the time is up."""


class UserFace(Protocol):
    """The user at this end: a script, a person at a terminal, or the tutorial.

    The session calls these methods. The face calls `Session.send` and the like.
    """

    def opened(self, session: Session) -> None:
        """Begin to send: a connection is open, the first or another one."""

    def received(self, payload: bytes, is_binary: bool) -> None:
        """Take a message that came. Raises `OSError` if the output is gone."""

    def say(self, text: str) -> None:
        """Show a printable line of the program's own."""

    def mention(self, text: str) -> None:
        """Show such a line about a normal event, which a script does not print."""

    def ended(self) -> Deferred[None] | None:
        """End: restore the terminal. May return a Deferred that fires when that is done."""


class Session:
    """One run of the program, over one connection, or over many with --reconnect."""

    def __init__(self, reactor: Any, command: Command, face: UserFace) -> None:
        self.reactor = reactor
        self.command = command
        self._face = face
        self._goal = Goal(
            count=command.count, until=command.until, expect_close=command.expect_close
        )
        self._staying = Staying(
            command.config,
            type("Talk", (Talk,), {"session": self}),
            reactor,
            connected=self._opened,
            lost=self._lost,
            retrying=self._retrying,
            failed=self._not_connected,
            retries=command.reconnect,
            resuming=self._resuming() if command.resume else None,
        )
        self._arrivals = Arrivals(reactor)
        self._outgoing = Outgoing(command.messages, command.config.send_buffer, self._sent)
        self._ended: Deferred[int] = Deferred()
        # `_verdict` is decided before the connection ends, and `_status` is that of a run that
        # ended.
        self._verdict: int | None = None
        self._status: int | None = None
        # The status if no other connection follows the one that was lost.
        self._status_so_far: int = Status.NO_CONNECTION
        self._in_doubt = ""
        self._interrupted = False
        self._connects_anew = False
        self._output_is_full = False
        self._cut_off = False
        self._calls: list[IDelayedCall] = []
        self.connection: Talk | None = None
        #: The number of messages that were queued for this connection when it opened.
        self.kept = 0

    def run(self) -> Deferred[int]:
        """Run. Fires with the exit status."""
        if self.command.timeout:
            self._later(self.command.timeout, self._timed_out)
        if self.command.config.insecure:
            self._face.say("WARNING: --insecure: the server's identity is not verified")
        self._staying.start()
        return self._ended

    # Calls of the face

    @property
    def is_open(self) -> bool:
        """True if the connection is open."""
        return self.connection is not None and self.connection.state == Talk.STATE_OPEN

    @property
    def keeps(self) -> bool:
        """True if a message that is sent without an open connection is kept for the next one."""
        is_over = self._verdict is not None or self._status is not None
        if is_over or self._outgoing.is_full:
            return False
        leaves = self.connection is not None and is_asked_for(self.connection)
        return self._connects_anew or (self.command.reconnect and not leaves)

    @property
    def waiting(self) -> int:
        """Octets that the server has not taken yet."""
        in_queue = 0 if self.connection is None else self.connection.octets_waiting
        return in_queue + self._outgoing.octets_waiting

    def send(self, payload: bytes, is_binary: bool = False) -> None:
        """Send a message after those that are queued."""
        self._outgoing.put([(payload, is_binary)])

    def send_all(self, messages: Iterable[Payload]) -> None:
        """Send messages in few writes."""
        self._outgoing.put(messages)

    def feed_from(self, source: IPushProducer) -> None:
        """Tell a source of messages to pause while the queue is full."""
        self._outgoing.feed_from(source)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close once everything is sent, on this or the next connection, and await the server's
        close."""
        self._outgoing.then(lambda: self._close(code, reason))

    def leave(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close like `close`; without a connection, end at once."""
        if self.connection is not None:
            self.close(code, reason)
        elif self._status is None:
            self._end(self._status_so_far)

    def reconnect(self) -> None:
        """Close, and connect again. Without a connection, try again at once."""
        if self.connection is not None:
            self._connects_anew = True
            self.close()
        elif self._status is None:
            self._staying.again()

    def input_ended(self) -> None:
        """Close at the end of the input, unless the goal is not reached yet."""
        if self._goal.waits:
            return
        if self.command.linger:
            self._later(self.command.linger, self.close)
        else:
            self.close()

    def fail(self, status: int, problem: str) -> None:
        """Report a problem, and close. The run ends with that status."""
        self._face.say(problem)
        self._decide(status)
        self.close()

    def output_full(self) -> None:
        """Stop reading from the server: much text waits to be printed."""
        self._output_is_full = True
        if self.connection is not None and not self._interrupted:
            self.connection.pause_reading()

    def output_has_room(self) -> None:
        """Read from the server again: the text was printed."""
        self._output_is_full = False
        if self.connection is not None:
            self.connection.resume_reading()

    def output_failed(self, error: OSError) -> None:
        """End the run: the output cannot be written any more."""
        status = Status.OK
        # With EPIPE, the reader has enough, as in `... | head -1`: that is no failure.
        if error.errno != errno.EPIPE:
            self._face.say(f"standard output cannot be written, {error.strerror}")
            status = Status.NO_OUTPUT
        if self._status is None:
            self._decide(status)
            self._close_now()
        elif self._status == Status.OK:
            self._status = status

    def interrupt(self, number: int) -> None:
        """Handle Ctrl-C: close and wait. The second time, end at once."""
        if self._interrupted or self._status is not None:
            self._status = 128 + number
            self._staying.stop()
            self._finish()
            return
        self._interrupted = True
        self._verdict = 128 + number
        if self.connection is None:
            self._end(self._verdict)
        else:
            # The server's answer to our close comes after the messages that are held back.
            self.connection.resume_reading()
            self._close_now()

    # Calls of the connection

    @property
    def wants_the_rest(self) -> bool:
        """True if messages after our close frame are still wanted."""
        return self._verdict is None

    def received(self, payload: bytes, is_binary: bool) -> None:
        """Take a message that came."""
        if self._goal.enough or (self._interrupted and self._output_is_full):
            return
        try:
            self._face.received(payload, is_binary)
        except OSError as error:
            self.output_failed(error)
        printed = as_printed(payload, is_binary, self.command.binary)
        if self._goal.received(printed) and not self._goal.waits:
            self._decide(Status.OK)
            self._close_now()

    def has_room(self) -> None:
        """Send more: the connection has room."""
        self._outgoing.go_on()

    def _sent(self, count: int) -> None:
        # Without --reconnect, the exit status tells the same.
        if self.command.reconnect:
            self._arrivals.sent(count)

    def _opened(self, connection: Talk) -> None:
        self.connection = connection
        self._connects_anew = False
        self.kept = len(self._outgoing)
        if self._output_is_full:
            connection.pause_reading()
        self._arrivals.begin(connection)
        self._outgoing.begin(connection)
        self._face.opened(self)

    def _lost(self, connection: Talk, _error: ConnectionClosed) -> None:
        try:
            self._over(connection)
        except Exception as error:
            # The run must end even after an error here.
            _log.failure("the end of a connection")
            self._face.say(escape(f"{type(error).__name__}: {error}"))
            self._end(Status.LOST if self._verdict is None else self._verdict)

    def _over(self, connection: Talk) -> None:
        self.connection = None
        self._outgoing.lost()
        count = self._arrivals.lost()
        in_doubt = count and not is_answered(connection)
        self._in_doubt = f"; {messages(count)} may have been lost" if in_doubt else ""
        if self._status is not None:
            return
        if self._connects_anew and self._verdict is None:
            self._staying.again()
            return
        # The user did not want the connection to end, so the queued messages count as lost.
        self._cut_off = self._verdict is None and not is_asked_for(connection)
        outcome = outcome_of(connection, self._goal if self._verdict is None else Goal())
        if self._goes_on_after(connection):
            self._status_so_far = outcome.status
        elif self._verdict == Status.OK:
            self._end(self._verdict)
        else:
            say = self._face.mention if outcome.is_well and not in_doubt else self._face.say
            say(outcome.said + self._in_doubt)
            self._end(outcome.status if self._verdict is None else self._verdict)

    def _resuming(self) -> Resuming:
        def missed(channel: str) -> None:
            self._face.say(f'messages of the channel "{escape(channel)}" were missed')

        return Resuming(self.command.config, missed, lambda: self._face.say(NOT_SPOKEN))

    def _goes_on_after(self, connection: Talk) -> bool:
        """Return True if another connection follows this one."""
        if not self.command.reconnect or self._verdict is not None or is_asked_for(connection):
            return False
        code = close_code(connection)
        return code is None or code != self._goal.expect_close or not self._goal.reached(code)

    def _retrying(self, error: Exception, delay: float) -> None:
        if not isinstance(error, ConnectionClosed):
            self._status_so_far = outcome_of_failure(error).status
        self._face.say(f"{error}{self._in_doubt}; trying again in {delay:.1f} s")
        self._in_doubt = ""

    def _not_connected(self, error: Exception) -> None:
        outcome = outcome_of_failure(error)
        self._face.say(outcome.said)
        self._end(outcome.status if self._verdict is None else self._verdict)

    # The end

    def _decide(self, status: int) -> None:
        """Decide the exit status, unless it is decided already."""
        if self._verdict is None:
            self._verdict = int(status)

    def _close(self, code: int, reason: str) -> None:
        if self.connection is not None:
            self.connection.sendClose(int(code), reason or None)
        elif self._status is None:
            self._end(self._status_so_far if self._verdict is None else self._verdict)

    def _close_now(self) -> None:
        """Drop the queued messages, and close."""
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
            return
        if self.connection is not None:
            self._close_now()
        self._later(_LAST_WORDS, self._finish)
        self._end(self._verdict)

    def _later(self, seconds: float, function: Any) -> None:
        self._calls.append(self.reactor.callLater(seconds, function))

    def _end(self, status: int) -> None:
        """End the run with a status, once everything is printed."""
        self._status = int(status)
        self._staying.stop()
        minds = self.command.reconnect or self._connects_anew or self._cut_off
        if minds and (count := len(self._outgoing)):
            self._face.say(f"not sent: {messages(count)}")
        self._outgoing.stop()
        maybeDeferred(self._face.ended).addCallback(lambda _: self._finish())

    def _finish(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        if not self._ended.called and self._status is not None:
            self._ended.callback(self._status)
