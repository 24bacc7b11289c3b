"""What is published by way of one server, in its order, and none of it twice.

Each message has a number, which grows with each. Where no answer came it may have been
published, or not: it is sent again, under its number, as soon as the server is there again, and
before anything else. Who hears a number that is not larger than the last of that node knows it
already. So a message that was asked for once is published once, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..errors import Away, NotPublishedError, Refused, UncertainError, Unknown
from ..log import PeerLogger

PATIENCE = 4.0
"""Seconds that whoever waits for what becomes of a message waits at most: less than
`publisher.TIMEOUT`."""

MOST_OCTETS = 64 * 1024 * 1024
"""Octets of messages that may wait for a server, however few they are."""

DOUBTED = 600.0
"""Seconds for which a message is sent again that may have been published: much less than it is
known there, `scripts.SEEN`."""

TROUBLED = 60.0
"""Seconds after which a server that refused a message may take the next one, for all that is
known."""

_SOON = 0.05
"""Seconds after which it is tried again, where a server that is there takes no more."""

_PASSING = frozenset({"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"})
"""Errors of a server in whose place, or after which, there is another soon."""

_SAID_EACH = 10.0
"""Seconds between two lines of the log that say that messages are lost."""

_log = PeerLogger(namespace="wsservice")


class Server(Protocol):
    """What is asked of a link."""

    @property
    def up(self) -> bool:
        """Whether it is connected."""

    @property
    def problem(self) -> str | None:
        """Why it is not."""


@attrs.define(eq=False)
class Publication:
    """A message to be published. `done` fires with how many nodes heard it, -1 if unknown.

    It fails with `NotPublishedError` or `UncertainError`; None where nobody wants to know.
    """

    channel: str
    payload: bytes
    isBinary: bool
    done: Deferred[int] | None = None
    #: Its number, 0 before it was sent for the first time.
    sequence: int = 0
    #: Whether it may have been published.
    doubtful: bool = False
    #: When it was sent first, in seconds of the reactor.
    sent: float = 0.0
    over: bool = False
    #: Fires with what became of it here once it came back, and the number that it then has.
    echo: Deferred[tuple[int, int]] | None = None
    number: int = 0
    deadline: IDelayedCall | None = None


@attrs.define
class Counted:
    """What is counted of messages that are published here."""

    #: Those that were, those that reached nobody, and those of which it is not known.
    published: int = 0
    refused: int = 0
    uncertain: int = 0
    #: How often one was sent again.
    resent: int = 0


class Outbox:
    """Publishes by a server. `transmit` sends one, and fires with how many heard it.

    While the server is away, up to `room` messages wait for it.
    """

    def __init__(
        self,
        link: Server,
        reactor: Any,
        transmit: Callable[[Publication], Deferred[int]],
        room: int,
    ) -> None:
        self._link = link
        self._reactor = reactor
        self._transmit = transmit
        self._room = room
        self._sequence = 0
        # Those that were sent, and are to be sent again; and those that were not.
        self._again: dict[Publication, None] = {}
        self._waiting: dict[Publication, None] = {}
        self._octets = 0
        self._later: IDelayedCall | None = None
        self._said = -_SAID_EACH
        self.counted = Counted()
        self._problem: str | None = None
        self._refused = 0.0

    @property
    def problem(self) -> str | None:
        """Why the server refused the last one, a moment ago; None where it takes them, or may."""
        if self._reactor.seconds() - self._refused > TROUBLED:
            return None
        return self._problem

    @property
    def waiting(self) -> int:
        """How many messages wait for the server."""
        return len(self._again) + len(self._waiting)

    def expect(self, publication: Publication) -> None:
        """Somebody waits for what becomes of it, and from now on not for ever."""
        publication.deadline = self._reactor.callLater(PATIENCE, self._too_late, publication)

    def put(self, publication: Publication) -> bool:
        """Publish a message. False where it is clear already that it reaches nobody."""
        if publication.over:
            return False
        if self.waiting or not self._link.up:
            return self._keep(publication, self._link.problem or "others wait for it already")
        away = self._send(publication)
        return away is None or self._keep(publication, away)

    def flush(self) -> None:
        """The server is there, or may be: send what waits for it."""
        self._forget_call()
        while self._link.up and self.waiting:
            publication = next(iter(self._again or self._waiting))
            if publication.sequence:
                if self._reactor.seconds() - publication.sent > DOUBTED:
                    self._fail(publication, "the server was away for too long")
                    continue
                self.counted.resent += publication.doubtful
                away = self._ask(publication)
            else:
                away = self._send(publication)
            if away is not None:
                self._flush_in(_SOON)
                return
            self._forget(publication)

    def close(self) -> None:
        """Publish nothing more."""
        self._forget_call()
        for each in (*self._again, *self._waiting):
            self._fail(each, "the service stops")

    # To send

    def _send(self, publication: Publication) -> str | None:
        """Send one for the first time; why that cannot be."""
        self._sequence += 1
        publication.sequence = self._sequence
        publication.sent = self._reactor.seconds()
        away = self._ask(publication)
        if away is not None:
            publication.sequence = 0
        return away

    def _ask(self, publication: Publication) -> str | None:
        sending = True
        away: list[str] = []

        def failed(failure: Failure) -> None:
            if sending and failure.check(Away):
                away.append(failure.getErrorMessage())
            else:
                self._failed(publication, failure)

        answer = self._transmit(publication)
        answer.addCallbacks(lambda nodes: self._answered(publication, nodes), failed)
        sending = False
        return away[0] if away else None

    def _has_room(self, publication: Publication) -> bool:
        there = self._octets + len(publication.payload)
        return len(self._waiting) < self._room and there <= MOST_OCTETS

    def _keep(self, publication: Publication, problem: str) -> bool:
        """Have one wait that was not sent, if there is room for it."""
        if not self._has_room(publication):
            self._fail(publication, problem)
            return False
        publication.sequence = 0
        self._waiting[publication] = None
        self._octets += len(publication.payload)
        self._flush_in(_SOON)
        return True

    def _forget(self, publication: Publication) -> None:
        """Have one wait no more."""
        self._again.pop(publication, None)
        if publication in self._waiting:
            del self._waiting[publication]
            self._octets -= len(publication.payload)

    # What comes of it

    def _answered(self, publication: Publication, nodes: int) -> None:
        self._problem = None
        self.counted.published += 1
        if not publication.over:
            self._end(publication)
            if publication.done is not None:
                publication.done.callback(nodes)

    def _failed(self, publication: Publication, failure: Failure) -> None:
        error = failure.value
        if publication.over:
            return  # whoever asked for it was told that it is not known
        if isinstance(error, Unknown):
            publication.doubtful = True
        elif isinstance(error, Refused):
            self._problem, self._refused = error.text, self._reactor.seconds()
            if error.kind not in _PASSING:
                self._fail(publication, error.text)
                return
        elif not isinstance(error, Away):
            _log.failure("broker {link}: an answer to a message", failure, link=str(self._link))
            publication.doubtful = True
            self._fail(publication, "an answer that makes no sense")
            return
        if publication.doubtful:
            # Not now: the link may be about to find out that its connection is over.
            self._again[publication] = None
            self._flush_in(_SOON)
        else:
            self._keep(publication, str(error))

    def _too_late(self, publication: Publication) -> None:
        publication.deadline = None
        if publication.sequence:
            publication.doubtful = True
        self._fail(publication, self._link.problem or "it gave no answer in time")

    def _fail(self, publication: Publication, problem: str) -> None:
        """Publish one no more."""
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
        elif self._reactor.seconds() - self._said >= _SAID_EACH:
            self._said = self._reactor.seconds()
            _log.warn(
                "a message is lost, {error}; so far {refused} were published to nobody, and of"
                " {uncertain} it is not known",
                error=str(error),
                refused=self.counted.refused,
                uncertain=self.counted.uncertain,
            )

    def _end(self, publication: Publication) -> None:
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
