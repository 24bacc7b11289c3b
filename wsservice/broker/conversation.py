"""One connection to a server: commands go out in their order, and answers come in it.

What is asked in one turn of the reactor leaves in one write. What is published comes on the
same connection, between answers (RESP3), so that both have one order.
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

from ..errors import Away, Refused, Unknown
from ..escape import escape
from ..transports import SocketWriter, plain

PATIENCE = 5
"""Seconds that an answer may take. A server that says nothing for so long when it is asked is
gone."""

MOST_WAITING = 16 * 1024 * 1024
MOST_ASKED = 100_000
"""Octets that wait to be sent, and answers that are waited for, at most."""

MOST_ANSWERED = 64 * 1024 * 1024
"""Octets that one answer may have, or what was published."""

_TICK = 1.0
_SHOWN = 300
"""Characters shown of an error."""

_CONFIRMING = {b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"}
_KIND = re.compile(r"([A-Z][A-Z0-9_]*)(?: |$)")
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
_NOTHING = object()

Word = bytes | str | int | float
Answered = Callable[[Any], None]
"""Is called with an answer, or with a `BrokerError`."""


def refused(text: str) -> Refused:
    """The error that a server's error is."""
    match = _IN_SCRIPT.search(text) or _KIND.match(text)
    return Refused(escape(text[:_SHOWN]), match[1] if match else "")


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


class _Asked:
    """Something that an answer is waited for, or `left` confirmations of subscriptions."""

    __slots__ = ("answered", "left", "moment", "tick")

    def __init__(self, answered: Answered | None, left: int, tick: int, moment: float) -> None:
        self.answered = answered
        self.left = left
        self.tick = tick
        self.moment = moment


class Owner:
    """Who is told what comes on a connection. Each of these does nothing by itself."""

    def pushed(self, push: Sequence[Any]) -> None:
        """Something came that is no answer: it was published, or a subscription is confirmed."""

    def took(self, seconds: float) -> None:
        """A call was answered after so long."""

    def lost(self, conversation: Conversation, why: str) -> None:
        """It is over, in a few words, printable. Called once."""


@implementer(IPushProducer)
class Conversation(Protocol):
    """A connection. What is asked on it when it is over is `Away`."""

    transport: Any

    def __init__(
        self,
        reactor: Any,
        owner: Owner,
        patience: int = PATIENCE,
        most: int = MOST_ANSWERED,
        why: Callable[[Failure], str] = lambda failure: failure.getErrorMessage(),
    ) -> None:
        self.octets_received = self.octets_sent = 0
        self._reactor = reactor
        self._owner = owner
        self._patience = patience
        self._most = most
        self._why = why
        self._reader = hiredis.Reader(replyError=refused, notEnoughData=_NOTHING)
        self._unread = 0
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
            self.transport.setTcpNoDelay(True)
        tcp = plain(self.transport)
        self._write = self.transport.write if tcp is None else SocketWriter(tcp).write
        self.transport.registerProducer(self, True)
        self._ticking = self._reactor.callLater(_TICK, self._ticked)

    def end(self) -> None:
        """Ask nothing more, and be over once what was asked is answered, or is late."""
        self._ending = True
        if not self._asked:
            self.abort("ended")

    def abort(self, why: str) -> None:
        """Be over now."""
        if self._over is not None:
            return
        self._over = why
        _cancel(self._flushing)
        _cancel(self._ticking)
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
        asked, self._asked = self._asked, deque()
        # First of all, so that who has no answer finds it so.
        self._owner.lost(self, why)
        for each in asked:
            self._answer(each, Unknown(f"no answer: {why}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.abort(self._why(reason))

    # Time

    def _ticked(self) -> None:
        # By ticks, not by the clock: where this process was stopped, the server is not late.
        self._ticking = self._reactor.callLater(_TICK, self._ticked)
        self._tick += 1
        late = takewhile(lambda each: self._tick - each.tick > self._patience, self._asked)
        for each in [each for each in late if not each.left]:
            # Its place is kept: the answer may come yet, before those of others.
            self._answer(each, Unknown(f"no answer within {self._patience} s"))
        if self._asked and self._tick - max(self._heard, self._asked[0].tick) > self._patience:
            self.abort(f"gave no answer within {self._patience} s")

    # Out

    @property
    def room(self) -> bool:
        """Whether something may be asked."""
        there_is = self._out_size < MOST_WAITING and len(self._asked) < MOST_ASKED
        return there_is and self._is_open

    @property
    def _is_open(self) -> bool:
        return not self._ending and self._over is None

    def ask(self, words: Sequence[Word], answered: Answered, names: int = 0) -> None:
        """Send a command. `answered` is called once, with its answer or the error that it came to.

        A subscription to so many `names` has pushes in the place of an answer: `answered` is
        called with an error only.
        """
        # Of names there are as many as there are channels: they find room in any case.
        if not (self.room or (names and self._is_open)):
            answered(Away("too much waits for it" if self._over is None else self._over))
            return
        packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
        self._asked.append(_Asked(answered, names, self._tick, self._reactor.seconds()))
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
        """The network takes no more."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """It is over, as `connectionLost` tells too."""

    # In

    def dataReceived(self, data: bytes) -> None:
        self.octets_received += len(data)
        self._heard = self._tick
        self._unread += len(data)
        self._reader.feed(data)
        self._reading = True
        try:
            self._read()
        except hiredis.ProtocolError as error:
            self.abort(f"speaks something else than RESP: {escape(str(error)[:_SHOWN])}")
        finally:
            self._reading = False
        if self._unread > self._most:
            self.abort(f"sent more than {self._most} octets in one answer")
        elif self._out:
            self._flush()

    def _read(self) -> None:
        gets = self._reader.gets
        while self._over is None:
            answer = gets()
            if answer is _NOTHING:
                return
            self._unread = self._reader.len()
            if isinstance(answer, hiredis.PushNotification):
                self._push(answer)
            elif self._asked:
                asked = self._asked.popleft()
                if asked.answered is not None:
                    if not asked.left:
                        self._owner.took(self._reactor.seconds() - asked.moment)
                    self._answer(asked, answer)
                if self._ending and not self._asked:
                    self.abort("ended")
            else:
                self.abort("sent an answer to nothing")

    def _push(self, push: Sequence[Any]) -> None:
        if push and push[0] in _CONFIRMING and self._asked:
            asked = self._asked[0]
            asked.left -= 1
            if asked.left <= 0:
                self._asked.popleft()
        self._owner.pushed(push)

    def _answer(self, asked: _Asked, answer: Any) -> None:
        answered, asked.answered = asked.answered, None
        if answered is not None:
            answered(answer)
