"""Count and list the people on a channel of the whole service."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..log.lines import rfc3339
from ..log.peer import peer_in, user_in
from .users import told

MOST_PEOPLE = 1000
"""The most people that one answer lists."""

DEFAULT_LIMIT = 100

_SHOWN = 256
"""The most characters of the name that a peer gave its program."""


class PresentConnection(Protocol):
    """A connection, as others may know it."""

    id: str
    who: str
    since: float
    user_agent: str


@attrs.frozen
class Person:
    """An open connection on a channel. Escape `user_agent`, which its peer chose, and `user`."""

    id: str
    """Its id in the log, the admin face and webhooks; with `--broker` NODE.CONNECTION."""
    peer: str
    """Its address, such as `192.0.2.1:5000`."""
    since: str
    """The time at which it came, in the form of RFC 3339."""
    user_agent: str
    """The User-Agent of its request, at most 256 characters, or ""."""
    user: str = ""
    """The id of its user, "" without one."""

    @classmethod
    def of(cls, connection: PresentConnection) -> Person:
        """Return the person of a connection."""
        said = connection.user_agent
        return cls(
            connection.id,
            peer_in(connection.who),
            rfc3339(connection.since),
            said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "\u2026",
            user_in(connection.who),
        )

    def as_json(self) -> tuple[str, ...]:
        """Return the values, as JSON can hold them: without a user as earlier versions do."""
        values: tuple[str, ...] = attrs.astuple(self)
        return values if self.user else values[:-1]


@attrs.frozen
class Presence:
    """The people on a channel, in all processes of a service and on all its nodes."""

    channel: str
    count: int
    """The number of connections on it. It is too low if `missing` names anybody."""
    people: tuple[Person, ...] = ()
    """The first of them, up to the limit of the question."""
    missing: tuple[str, ...] = ()
    """The names of the workers and nodes that did not answer, and are in neither."""
    users: int = 0
    """The number of different users of these connections. It is an estimate, mostly within 3 %,
    from 1,024 users on. Connections without a user do not count."""
    marks: tuple[int, ...] = attrs.field(default=(), repr=False)
    """The marks by which several processes add up their users: see `users.told`."""

    @property
    def is_whole(self) -> bool:
        """True if all processes that may have connections on the channel have answered."""
        return not self.missing

    @classmethod
    def of(cls, channel: str, said: Mapping[str, Any]) -> Presence:
        """Return the presence that `as_json` turned into JSON."""
        people = tuple(Person(*each) for each in said["people"])
        users, marks = said.get("users", 0), tuple(said.get("marks", ()))
        return cls(channel, said["count"], people, tuple(said["missing"]), users, marks)

    def as_json(self) -> dict[str, Any]:
        """Return all but the channel, as JSON can hold it."""
        people = [each.as_json() for each in self.people]
        said = {"count": self.count, "people": people, "missing": list(self.missing)}
        return {**said, "users": self.users, "marks": list(self.marks)} if self.users else said


def presence_of(
    channel: str,
    connections: Iterable[Any],
    count: int,
    limit: int,
    marks: Collection[int] = (),
) -> Presence:
    """Return the presence of `count` connections, with a list of the first `limit`.

    `marks` are those of their users.
    """
    first = heapq.nsmallest(limit, connections, key=lambda each: int(each.id)) if limit else ()
    people = tuple(map(Person.of, first))
    return Presence(channel, count, people, (), len(marks), told(marks) if marks else ())


def checked(limit: object) -> int:
    """Return a limit. Raises `ValueError` for one that is not allowed."""
    if type(limit) is not int or not 0 <= limit <= MOST_PEOPLE:
        raise ValueError(f"limit: {limit!r} is not allowed; give 0 to {MOST_PEOPLE}")
    return limit


Ask = Callable[[str, int], "Deferred[Presence]"]
"""A function that asks for a channel's presence, with a limit of people."""


@attrs.define(eq=False)
class _Question:
    channel: str
    limit: int
    askers: list[Deferred[Presence]] = attrs.field(factory=list)


class PresenceQuestions:
    """Asks all processes of a service with `ask`, at most `at_once` questions at a time.

    A question that is asked twice before it is sent is sent once. One that is sent already is
    sent again: its answer may be older than the second question.
    """

    def __init__(self, ask: Ask, at_once: int, reactor: Any) -> None:
        self._ask = ask
        self._at_once = at_once
        self._reactor = reactor
        self._waiting: dict[tuple[str, int], _Question] = {}
        self._order: deque[_Question] = deque()
        self._asked = 0
        self._scheduled = False
        self._putting = False

    def ask(self, channel: str, limit: int) -> Deferred[Presence]:
        """Return a Deferred of the presence of a channel, with at most `limit` people."""
        question = self._waiting.get((channel, limit))
        if question is None:
            question = self._waiting[channel, limit] = _Question(channel, limit)
            self._order.append(question)
        asker: Deferred[Presence] = Deferred()
        question.askers.append(asker)
        if not self._scheduled:
            self._scheduled = True
            # At the end of the turn, so that equal questions of the same turn are one.
            self._reactor.callLater(0, self._put)
        return asker

    def _put(self) -> None:
        self._scheduled = False
        if self._putting:
            return  # a question was answered at once, within the loop below
        self._putting = True
        while self._order and self._asked < self._at_once:
            question = self._order.popleft()
            del self._waiting[question.channel, question.limit]
            self._asked += 1
            asked = self._ask(question.channel, question.limit)
            asked.addBoth(self._answered, question)
        self._putting = False

    def _answered(self, answer: Presence | Failure, question: _Question) -> None:
        self._asked -= 1
        self._put()
        for asker in question.askers:
            if asker.called:  # it was cancelled
                continue
            if isinstance(answer, Failure):
                asker.errback(answer)
            else:
                asker.callback(answer)
