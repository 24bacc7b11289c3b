"""Publish messages through one server, in their order, and none of them twice.

These rules hold at any time:

1. Numbers grow. A message gets the next number when it is first sent, and keeps it.
2. With a history, Redis knows each node's last number, under an id that is new whenever all data or
   the record of the node begins anew. Both are its `Standing`. Each message names the standing that
   it comes after, and Redis takes it only there: in a pipeline, only after the message before it. A
   copy that arrives late, or ahead of another message, changes nothing.
3. If Redis does not take a message, it answers its standing. While such messages wait, no new
   message is sent. Once all sent messages are answered, they are sent again by their numbers.
4. A message without an answer may have been published: it is in doubt, and stays so. It is sent
   again before all others. Redis under the same id knows the outcome. If Redis has another id, or a
   last number smaller than one that it took, nobody knows the outcome: the message is not published
   again, and is reported as uncertain.
5. A message that is not in doubt and fails has reached nobody, and will not.

Without a history Redis knows no numbers. Nodes then ignore a number that is not larger than the
last one that they heard of that node.

See docs/decisions/one-order.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..clock import monotonic_of
from ..errors import Away, NotPublishedError, Refused, UncertainError, Unknown
from ..log.peer import PeerLogger, Seldom
from .queued import QueuedMessage
from .standing import UNKNOWN, MisplacedError, Standing

PATIENCE = 4.0
"""Seconds after which a publisher gets an answer, known or not: less than `publisher.TIMEOUT`, so
that an HTTP client reads 504 and does not run into a timeout of its own."""

MOST_OCTETS = 64 * 1024 * 1024
"""The most octets of messages that wait for a server, with their overhead."""


DOUBTED = 600.0
"""Seconds for which a message in doubt is sent again. Much less than `calls.SEEN`, after which
Redis could not tell a repeated message from a new one."""

TROUBLED = 60.0
"""Seconds after which the error of a server that refused a message is no longer reported."""

RECOVERING = 10_000
"""Messages that may wait at a connected server until earlier ones are sent again."""

_SOON = 0.05
"""Seconds until messages are sent again to a connected server that took no more."""

_ROUNDS = 3
"""The most times that messages are sent again at once without one of them being taken."""

_PASSING = frozenset({"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"})
"""Errors that pass: of a server that is replaced by another, or that is about to be ready."""

_log = PeerLogger(namespace="wsservice")


class OutboxLink(Protocol):
    """The part of a link that the outbox reads."""

    @property
    def up(self) -> bool:
        """True if it is connected."""

    @property
    def problem(self) -> str | None:
        """The reason that it is not connected."""


@attrs.define
class PublishedCounts:
    """Counters of the messages that are published here."""

    #: Messages that were published, that reached nobody, and whose outcome is unknown.
    published: int = 0
    refused: int = 0
    uncertain: int = 0
    #: How often a message was sent again.
    resent: int = 0
    #: How often Redis had a last number that this node never gave it, or gave long ago.
    poisoned: int = 0


class Outbox:
    """Publishes through a server.

    `transmit` sends a message. Its Deferred fires with the number of nodes that heard it, or fails
    with a `BrokerError` or `MisplacedError`. While the server is away, up to `room` messages wait.
    """

    def __init__(
        self,
        link: OutboxLink,
        reactor: Any,
        transmit: Callable[[QueuedMessage], Deferred[int]],
        room: int,
    ) -> None:
        self._link = link
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._transmit = transmit
        self._room = room
        self._sequence = 0
        # The standing of Redis by its last answer, and once it has taken all sent messages.
        self._standing = self._believed = UNKNOWN
        self._taken = 0
        self._under_way = 0
        # Messages that were sent and must be sent again, and messages that were never sent.
        self._again: dict[QueuedMessage, None] = {}
        self._waiting: dict[QueuedMessage, None] = {}
        # Messages of both that count against the room. Those that may be published always stay.
        self._kept: set[QueuedMessage] = set()
        self._octets = 0
        self._is_recovering = False
        self._rounds = 0
        self._later: IDelayedCall | None = None
        self._seldom = Seldom(self._monotonic)
        self.counted = PublishedCounts()
        self._problem: str | None = None
        self._refused = 0.0

    @property
    def problem(self) -> str | None:
        """The error of a server that refused the last message within a minute, or None."""
        if self._monotonic() - self._refused > TROUBLED:
            return None
        return self._problem

    @property
    def waiting(self) -> int:
        """The number of messages that wait for the server."""
        return len(self._again) + len(self._waiting)

    def expect(self, publication: QueuedMessage) -> None:
        """Give a message a deadline of `PATIENCE`, since somebody waits for its outcome."""
        publication.deadline = self._reactor.callLater(PATIENCE, self._too_late, publication)

    def put(self, publication: QueuedMessage) -> bool:
        """Publish a message. Returns False if it is certain already that it reaches nobody."""
        if publication.over:
            return False
        if self.waiting or not self._link.up:
            return self._keep(publication, self._link.problem or "others wait for it already")
        away = self._send(publication)
        return away is None or self._keep(publication, away)

    def flush(self) -> None:
        """Send the waiting messages, if the server is connected."""
        self._forget_call()
        if self._again and self._under_way:
            return  # until all is answered, since the server's standing is unknown before that
        self._again = dict.fromkeys(sorted(self._again, key=_number))
        while self._link.up and self.waiting:
            publication = next(iter(self._again or self._waiting))
            if self._is_too_old(publication):
                # Redis may soon forget the node's numbers, and would take a copy for a new message.
                self._fail(publication, "the server was away for too long")
                continue
            if publication.sequence:
                if self._is_decided(publication):
                    continue
                self.counted.resent += publication.doubtful
                away = self._ask(publication)
            else:
                away = self._send(publication)
            if away is not None:
                self._flush_in(_SOON)
                return
            self._forget(publication)
        if not self.waiting:
            self._is_recovering = False

    def close(self) -> None:
        """Publish nothing more."""
        self._forget_call()
        for each in (*self._again, *self._waiting):
            self._fail(each, "the service stops")

    # To send

    def _send(self, publication: QueuedMessage) -> str | None:
        """Send a message for the first time. Returns None, or why it could not be sent."""
        self._sequence += 1
        publication.sequence = self._sequence
        publication.sent = self._monotonic()
        away = self._ask(publication)
        if away is not None:
            publication.sequence = 0
        return away

    def _ask(self, publication: QueuedMessage) -> str | None:
        """Send a message. Returns None, or why it could not be sent."""
        before = self._believed
        publication.after = before
        publication.anew = not self._under_way and self._is_behind
        publication.under_way = True
        self._believed = Standing(before.life, publication.sequence)
        self._under_way += 1
        sending = True
        away: list[str] = []

        def failed(failure: Failure) -> None:
            self._has_answer(publication)
            if sending and failure.check(Away):
                self._believed = before
                away.append(failure.getErrorMessage())
            else:
                self._failed(publication, failure)
                self._go_on()

        def answered(nodes: int) -> None:
            self._has_answer(publication)
            self._took(Standing(publication.after.life, publication.sequence))
            self._answered(publication, nodes)
            self._go_on()

        answer = self._transmit(publication)
        answer.addCallbacks(answered, failed)
        sending = False
        return away[0] if away else None

    def _has_answer(self, publication: QueuedMessage) -> None:
        publication.under_way = False
        self._under_way -= 1

    def _took(self, standing: Standing) -> None:
        """Note the standing of Redis after it has taken a number."""
        self._standing = standing
        self._taken = standing.last
        self._rounds = 0

    def _go_on(self) -> None:
        """Send more once all sent messages are answered, so that the server's standing is known."""
        if self._under_way:
            return
        self._believed = self._standing
        if not self.waiting:
            self._is_recovering = False
        elif self._is_recovering and self._rounds < _ROUNDS:
            self._rounds += 1
            self.flush()
        else:
            # Messages that Redis keeps refusing must not be sent again without a pause.
            self._flush_in(_SOON)

    def _has_room(self, publication: QueuedMessage) -> bool:
        there = self._octets + publication.octets
        room = self._room
        if self._is_recovering and self._link.up:
            room = max(room, RECOVERING)
        return len(self._kept) < room and there <= MOST_OCTETS

    def _keep(self, publication: QueuedMessage, problem: str) -> bool:
        """Queue a message that was not published, if there is room for it."""
        if not self._has_room(publication):
            self._fail(publication, problem)
            return False
        if self._is_recovering and publication.sent is None:
            # It would have been sent now, so its age counts from now on, as that of sent ones.
            publication.sent = self._monotonic()
        where = self._again if publication.sequence else self._waiting
        where[publication] = None
        self._kept.add(publication)
        self._octets += publication.octets
        self._flush_in(_SOON)
        return True

    def _is_too_old(self, publication: QueuedMessage) -> bool:
        sent = publication.sent
        return sent is not None and self._monotonic() - sent > DOUBTED

    def _forget(self, publication: QueuedMessage) -> None:
        """Remove a message from the queues."""
        self._again.pop(publication, None)
        self._waiting.pop(publication, None)
        if publication in self._kept:
            self._kept.remove(publication)
            self._octets -= publication.octets

    # Outcomes

    def _answered(self, publication: QueuedMessage, nodes: int) -> None:
        self._problem = None
        self.counted.published += 1
        if not publication.over:
            self._end(publication)
            if publication.done is not None:
                publication.done.callback(nodes)

    def _failed(self, publication: QueuedMessage, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, MisplacedError):
            self._misplaced(publication, error.standing)
            return
        if publication.over:
            return  # its publisher was told that the outcome is unknown
        if isinstance(error, Unknown):
            self._doubt(publication)
        elif isinstance(error, Refused):
            self._problem, self._refused = error.text, self._monotonic()
            if error.kind not in _PASSING:
                self._fail(publication, error.text)
                return
        elif not isinstance(error, Away):
            _log.failure("broker {link}: an answer to a message", failure, link=str(self._link))
            self._doubt(publication)
            self._fail(publication, "an answer that makes no sense")
            return
        if publication.doubtful:
            # Later: the link may be about to find out that its connection is over.
            self._again[publication] = None
            self._flush_in(_SOON)
        else:
            self._keep(publication, str(error))

    def _doubt(self, publication: QueuedMessage) -> None:
        publication.doubtful = True
        publication.life = publication.after.life

    def _misplaced(self, publication: QueuedMessage, standing: Standing) -> None:
        """Note that Redis did not take a message, and its standing; send the message again."""
        if standing.life != self._standing.life:
            self._taken = 0
        is_told = standing != self._standing
        self._standing = standing
        self._is_recovering = True
        is_wrong = standing.last > self._sequence or self._is_behind
        if not publication.over and not self._is_decided(publication):
            # A message that was never taken has a larger number than all taken ones.
            is_wrong |= publication.sequence <= standing.last
            self._again[publication] = None
        self.counted.poisoned += is_told and is_wrong

    def _is_decided(self, publication: QueuedMessage) -> bool:
        """Return True if the standing of Redis decides the outcome of a message in doubt."""
        if not publication.doubtful or not publication.life:
            return False  # it was sent without an id of Redis, which never takes such a message
        life, last = self._standing
        if life != publication.life or not self._taken <= last <= self._sequence:
            self._fail(publication, "the server has lost what it knew of it")
            return True
        if publication.sequence > last:
            return False
        self._took(self._standing)
        self._answered(publication, -1)
        return True

    @property
    def _is_behind(self) -> bool:
        """True if Redis, under the same id, has lost a number that it has taken."""
        return self._standing.last < self._taken

    def _too_late(self, publication: QueuedMessage) -> None:
        publication.deadline = None
        if publication.under_way:
            self._doubt(publication)
        self._fail(publication, self._link.problem or "it gave no answer in time")

    def _fail(self, publication: QueuedMessage, problem: str) -> None:
        """Give a message up: as uncertain if it is in doubt, otherwise as published to nobody."""
        self._end(publication)
        if publication.doubtful:
            self.counted.uncertain += 1
            error: Exception = UncertainError(
                f"it is not known whether it was published; broker {self._link}: {problem}"
            )
        else:
            self.counted.refused += 1
            error = NotPublishedError(f"it was published to nobody; broker {self._link}: {problem}")
        if publication.done is not None:
            publication.done.errback(error)
        elif self._seldom.due():
            _log.warn(
                "a message is lost, {error}; so far {refused} were published to nobody, and the"
                " outcome of {uncertain} is unknown",
                error=str(error),
                refused=self.counted.refused,
                uncertain=self.counted.uncertain,
            )

    def _end(self, publication: QueuedMessage) -> None:
        publication.over = True
        deadline, publication.deadline = publication.deadline, None
        if deadline is not None:
            deadline.cancel()
        self._forget(publication)

    def _flush_in(self, seconds: float) -> None:
        if self._later is None and self._link.up:
            self._later = self._reactor.callLater(seconds, self.flush)

    def _forget_call(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()


def _number(publication: QueuedMessage) -> int:
    return publication.sequence
