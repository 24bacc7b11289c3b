"""One run of the program: connect, talk, and end with an exit status."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer

from ..errors import ConnectionClosed
from ..escape import escape
from ..policy import CloseCode
from .arrivals import Arrivals
from .command import Command
from .goal import Goal
from .outbox import Payload, messages
from .outcome import close_code, is_answered, is_asked_for, outcome_of, outcome_of_failure
from .outgoing import Outgoing
from .printing import as_printed
from .resuming import NOT_SPOKEN, Resuming
from .status import Status
from .staying import Staying
from .talk import Talk

_LAST_WORDS = 0.5
"""Seconds that what was received has to be printed when the time is up."""


class Face(Protocol):
    """Who is talked to at this end: a script, a person at a terminal, the tutorial.

    It is told by these what happens, and calls `Session.send` and the like.
    """

    def opened(self, session: Session) -> None:
        """A connection is open, the first or another: what there is to say may be said."""

    def received(self, payload: bytes, isBinary: bool) -> None:
        """A message came in. Raises `OSError` when nobody takes it any more."""

    def say(self, text: str) -> None:
        """The program's own words, one line, printable."""

    def mention(self, text: str) -> None:
        """The same, of what is in order: a script does not want to hear it."""

    def ended(self) -> Deferred[None] | None:
        """The run is over: put the terminal in order. May fire when that is done."""


class Session:
    """One run of the program, over one connection or, to stay, over many."""

    def __init__(self, reactor: Any, command: Command, face: Face) -> None:
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
        # Decided before the connection is over, and that of a run that is.
        self._verdict: int | None = None
        self._status: int | None = None
        # What it would be if nothing came after the connection that was lost.
        self._status_so_far: int = Status.NO_CONNECTION
        self._in_doubt = ""
        self._interrupted = False
        self._connects_anew = False
        self._output_is_full = False
        self._calls: list[IDelayedCall] = []
        self.connection: Talk | None = None
        #: How many messages waited for this connection when it was opened.
        self.kept = 0

    def run(self) -> Deferred[int]:
        """Fires with the exit status."""
        if self.command.timeout:
            self._later(self.command.timeout, self._timed_out)
        if self.command.config.insecure:
            self._face.say("WARNING: --insecure: the server may be anybody, nothing is verified")
        self._staying.start()
        return self._ended

    # What the face asks for

    @property
    def is_open(self) -> bool:
        """Whether what is sent now will be."""
        return self.connection is not None and self.connection.state == Talk.STATE_OPEN

    @property
    def keeps(self) -> bool:
        """Whether what is sent now, and the connection not open, is for the next one."""
        is_over = self._verdict is not None or self._status is not None
        if is_over or self._outgoing.is_full:
            return False
        leaves = self.connection is not None and is_asked_for(self.connection)
        return self._connects_anew or (self.command.reconnect and not leaves)

    @property
    def waiting(self) -> int:
        """Octets that the server did not take yet."""
        in_queue = 0 if self.connection is None else self.connection.octets_waiting
        return in_queue + self._outgoing.octets_waiting

    def send(self, payload: bytes, isBinary: bool = False) -> None:
        """Send a message, after those that wait already."""
        self._outgoing.put([(payload, isBinary)])

    def send_all(self, messages: Iterable[Payload]) -> None:
        """Send messages, in few writes."""
        self._outgoing.put(messages)

    def feed_from(self, source: IPushProducer) -> None:
        """Tell a source of messages to pause while the server takes no more."""
        self._outgoing.feed_from(source)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close when all is sent, over whichever connection, and wait for the server to do so."""
        self._outgoing.then(lambda: self._close(code, reason))

    def leave(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """The same, but where there is no connection, wait for none."""
        if self.connection is not None:
            self.close(code, reason)
        elif self._status is None:
            self._end(self._status_so_far)

    def reconnect(self) -> None:
        """Close, and connect anew; where there is no connection, try again at once."""
        if self.connection is not None:
            self._connects_anew = True
            self.close()
        elif self._status is None:
            self._staying.again()

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
            self._staying.stop()
            self._finish()
            return
        self._interrupted = True
        self._verdict = 128 + number
        if self.connection is None:
            self._end(self._verdict)
        else:
            # Its answer to our close is behind what waits to be printed.
            self.connection.resume_reading()
            self._close_now()

    # What the connection tells

    @property
    def wants_the_rest(self) -> bool:
        """Whether what comes after our close frame is of interest."""
        return self._verdict is None

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

    def has_room(self) -> None:
        """The connection takes more to send."""
        self._outgoing.go_on()

    def _sent(self, count: int) -> None:
        # Whoever does not stay learns the same from the exit status.
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
        """Whether the run goes on with another connection."""
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
        """Whatever becomes of the connection, the run ends with this, unless decided before."""
        if self._verdict is None:
            self._verdict = int(status)

    def _close(self, code: int, reason: str) -> None:
        if self.connection is not None:
            self.connection.sendClose(int(code), reason or None)
        elif self._status is None:
            self._end(self._status_so_far if self._verdict is None else self._verdict)

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
            return
        if self.connection is not None:
            self._close_now()
        self._later(_LAST_WORDS, self._finish)
        self._end(self._verdict)

    def _later(self, seconds: float, function: Any) -> None:
        self._calls.append(self.reactor.callLater(seconds, function))

    def _end(self, status: int) -> None:
        """The run is over, once all is printed."""
        self._status = int(status)
        self._staying.stop()
        stays = self.command.reconnect or self._connects_anew
        if stays and (count := len(self._outgoing)):
            self._face.say(f"not sent: {messages(count)}")
        self._outgoing.stop()
        maybeDeferred(self._face.ended).addCallback(lambda _: self._finish())

    def _finish(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        if not self._ended.called and self._status is not None:
            self._ended.callback(self._status)
