"""Send commands on one connection to a server, and read their answers in the same order.

The commands of one turn of the reactor leave in one write, which lets nodes publish ten times as
many messages. Published messages arrive on the same connection, between answers (RESP3), so that
both have one order: an answer about the history tells which messages came before it.

See docs/decisions/redis-client.md.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import hiredis
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...clock import monotonic_of
from ...errors import Away, Refused, Unknown
from ...escape import escape
from ...net.transports import SocketWriter, plain
from .claims import LITTLE, Claims

PATIENCE = 5
"""Seconds that an answer may take. A server that sends nothing for that time while a command waits
is considered gone."""

MOST_WAITING = 16 * 1024 * 1024
MOST_ASKED = 100_000
"""The most octets that wait to be sent, and the most answers that are waited for."""

MOST_ANSWERED = 64 * 1024 * 1024
"""The most octets of an answer or of a published message."""

MOST_BEFORE_LOGIN = 64 * 1024
"""The most octets of either before the login is done, since the server may be an impostor."""

_TICK = 1.0
_SHOWN = 300
"""The most characters shown of an error."""

_CONFIRMING = {b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"}
# An error begins with its kind in capitals. Redis before 7 puts other words before an error within
# a script.
_KIND = re.compile(r"([A-Z][A-Z0-9_]*)(?: |$)")
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
_NOTHING = object()

Word = bytes | str | int | float
Answered = Callable[[Any], None]
"""A function that is called with an answer, or with a `BrokerError`."""


def refused(text: str) -> Refused:
    """Return our error for the text of a server's error."""
    match = _IN_SCRIPT.search(text) or _KIND.match(text)
    return Refused(escape(text[:_SHOWN]), match[1] if match else "")


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


class _Asked:
    """A command that waits for its answer, or for `left` confirmations of subscriptions."""

    __slots__ = ("answered", "elements", "left", "moment", "tick")

    def __init__(
        self, answered: Answered | None, left: int, elements: int, tick: int, moment: float
    ) -> None:
        self.answered = answered
        self.left = left
        self.elements = elements
        self.tick = tick
        self.moment = moment


class ConnectionOwner:
    """The owner of a connection, whose methods it calls. Here each of them does nothing."""

    def pushed(self, push: Sequence[Any]) -> None:
        """Take a push: a published message, or the confirmation of a subscription."""

    def took(self, seconds: float) -> None:
        """Take the seconds after which a command was answered."""

    def lost(self, conversation: Conversation, why: str) -> None:
        """Take note of the connection's end, and of its reason in a few printable words.

        Called once for each connection.
        """


@implementer(IPushProducer)
class Conversation(Protocol):
    """A connection. A command after its end fails with `Away`.

    `patience` is the number of seconds that an answer may take. `most` is the most octets of an
    answer, 64 KiB until `trust` is called. `why` describes the failure of a lost connection.
    """

    transport: Any

    def __init__(
        self,
        reactor: Any,
        owner: ConnectionOwner,
        patience: int = PATIENCE,
        most: int = MOST_ANSWERED,
        why: Callable[[Failure], str] = lambda failure: failure.getErrorMessage(),
    ) -> None:
        self.octets_received = self.octets_sent = 0
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._owner = owner
        self._patience = patience
        self._most = most
        self._why = why
        self._claims = Claims(min(most, MOST_BEFORE_LOGIN))
        # No other reference may exist, not even a local variable: the traceback of an error that a
        # callback raises keeps frames alive, and with them megabytes that the parser holds.
        self._reader: Any = hiredis.Reader(replyError=refused, notEnoughData=_NOTHING)
        self._asked: deque[_Asked] = deque()
        self._out: list[bytes] = []
        self._out_size = 0
        self._flushing: IDelayedCall | None = None
        self._ticking: IDelayedCall | None = None
        self._tick = self._heard = 0
        self._paused = self._reading = self._ending = False
        self._over: str | None = None

    # Begin and end

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            # Commands of one turn are one write already. Nagle's algorithm would only delay them.
            self.transport.setTcpNoDelay(True)
        tcp = plain(self.transport)
        self._write = self.transport.write if tcp is None else SocketWriter(tcp).write
        self.transport.registerProducer(self, True)
        self._ticking = self._reactor.callLater(_TICK, self._ticked)

    def trust(self) -> None:
        """Allow answers of the full size, once the server has accepted the login."""
        self._claims.octets = self._most

    def end(self) -> None:
        """Send no more commands, and end once all answers have come or are late."""
        self._ending = True
        if not self._asked:
            self.abort("ended")

    def abort(self, why: str) -> None:
        """End the connection at once, for a reason in a few words. Idempotent."""
        if self._over is not None:
            return
        self._over = why
        _cancel(self._flushing)
        _cancel(self._ticking)
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
        asked, self._asked = self._asked, deque()
        # Free the parser's memory now, not when garbage is collected: a hostile server may have
        # filled it.
        self._reader = None
        self._out.clear()
        # First, so that callbacks of failed commands find the owner without a connection.
        self._owner.lost(self, why)
        for each in asked:
            self._answer(each, Unknown(f"no answer: {why}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.abort(self._why(reason))
        # Twisted's TLS keeps a reference to the protocol, so the two would be a cycle.
        self.transport = self._write = None

    # Time

    def _ticked(self) -> None:
        # By ticks, not by the clock: after this process itself was stopped for a while, the server
        # is not late.
        self._ticking = self._reactor.callLater(_TICK, self._ticked)
        self._tick += 1
        late = takewhile(lambda each: self._tick - each.tick > self._patience, self._asked)
        for each in [each for each in late if not each.left]:
            # It keeps its place in the order, since its answer may still come before the others'.
            self._answer(each, Unknown(f"no answer within {self._patience} s"))
        # A server is gone if it sends nothing at all. One late answer alone ends no connection,
        # since a slow command holds up all answers behind it.
        if self._asked and self._tick - max(self._heard, self._asked[0].tick) > self._patience:
            self.abort(f"gave no answer within {self._patience} s")

    # Out

    @property
    def room(self) -> bool:
        """True if another command may be sent."""
        there_is = self._out_size < MOST_WAITING and len(self._asked) < MOST_ASKED
        return there_is and self._is_open

    @property
    def _is_open(self) -> bool:
        return not self._ending and self._over is None

    def ask(
        self,
        words: Sequence[Word],
        answered: Answered,
        names: int = 0,
        elements: int = LITTLE,
    ) -> None:
        """Send a command. `answered` is called once, with its answer or an error.

        `elements` is the most elements of the answer, including those of lists within it. A command
        that subscribes to a number of `names` gets pushes in place of an answer, so `answered` is
        called only with an error.
        """
        # Subscriptions find room in any case: their number is bounded by the number of channels.
        if not (self.room or (names and self._is_open)):
            answered(Away("too much waits for it" if self._over is None else self._over))
            return
        packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
        self._asked.append(_Asked(answered, names, elements, self._tick, self._monotonic()))
        self._out.append(packed)
        self._out_size += len(packed)
        if self._flushing is None and not self._reading:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        _cancel(self._flushing)
        self._flushing = None
        if self._out and not self._paused and self._over is None:
            data = b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            self.octets_sent += len(data)
            self._write(data)

    def pauseProducing(self) -> None:
        """Keep commands back. The transport calls this when it holds enough."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send commands again. The transport calls this when it has sent all octets."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """Do nothing: Twisted calls `connectionLost` too."""

    # In

    def dataReceived(self, data: bytes) -> None:
        self.octets_received += len(data)
        self._heard = self._tick
        claims, rest = self._claims, data
        # Commands that callbacks send during the read leave in one write at its end.
        self._reading = True
        try:
            while rest and self._over is None:
                taken, rest = claims.take(rest)
                if taken:
                    self._reader.feed(taken)
                    self._read()
                if rest:
                    claims.allow(self._asked[0].elements if self._asked else 0)
        finally:
            self._reading = False
        if claims.problem is not None:
            self.abort(claims.problem)
        elif self._out:
            self._flush()

    def _read(self) -> None:
        while self._over is None:
            try:
                answer = self._reader.gets()
            except Exception as error:
                # A ProtocolError, or Python's TypeError for a list as the key of a map.
                self.abort(f"speaks something else than RESP: {escape(str(error)[:_SHOWN])}")
                return
            if answer is _NOTHING:
                return
            if isinstance(answer, hiredis.PushNotification):
                self._push(answer)
            elif self._asked:
                asked = self._asked.popleft()
                if asked.answered is not None:
                    if not asked.left:
                        self._owner.took(self._monotonic() - asked.moment)
                    self._answer(asked, answer)
                if self._ending and not self._asked:
                    self.abort("ended")
            else:
                self.abort("sent an answer to nothing")

    def _push(self, push: Sequence[Any]) -> None:
        # A list as the kind would not be hashable.
        if self._asked and push and type(push[0]) is bytes and push[0] in _CONFIRMING:
            asked = self._asked[0]
            asked.left -= 1
            if asked.left <= 0:
                self._asked.popleft()
        self._owner.pushed(push)

    def _answer(self, asked: _Asked, answer: Any) -> None:
        answered, asked.answered = asked.answered, None
        if answered is not None:
            answered(answer)
