"""Find the connections of all nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from ..channels.presence import Person, Presence
from ..channels.users import together
from ..directory.ids import Id
from ..directory.listing import Closing, Wanted
from ..directory.outcomes import (
    SendOutcome,
    TracedElsewhere,
    TraceRefusal,
    UnansweredError,
    Unreached,
    UserReached,
)
from ..directory.people import People, TraceOutcome
from ..directory.presence import ChannelsWanted
from . import merging
from .asking import WITHIN, Asking, Unheard
from .checking import LARGEST
from .questions import AskChannels, AskClose, AskCount, AskList, AskSend, Question
from .registry import KnownNodes, Registry
from .user_questions import AskCloseUser, AskSendUser, AskUserCount, AskUserList, AskUsers

_OTHERS = "the other nodes"


class PartialAnswer(Protocol):
    """An answer that may lack the part of some workers."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the node's workers that did not answer it."""


T = TypeVar("T")
P = TypeVar("P", bound=PartialAnswer)


class _Round:
    """One request: the nodes that take part, and those that did not answer."""

    def __init__(self, known: KnownNodes, asking: Asking) -> None:
        self._known = known
        self._asking = asking
        self._missing: set[str] = set()
        if known.problem is not None:
            # Other nodes can be reached only by way of the broker that failed.
            self._missing.update(known.others)

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes that have not failed to answer so far, in order."""
        everybody = {self._asking.node, *self._known.others}
        return sorted(everybody - self._missing)

    async def ask_all(self, question: Question[P]) -> dict[str, P]:
        """Ask all nodes one question. Return the answers by node."""
        return await self.ask(dict.fromkeys(self.nodes, question))

    async def ask(self, questions: Mapping[str, Question[P]]) -> dict[str, P]:
        """Ask each of some nodes a question of its own. Return the answers by node."""
        answers: dict[str, P] = {}
        for node, answer in (await self._asking.ask(questions)).items():
            if isinstance(answer, Unheard):
                self._missing.add(node)
            else:
                answers[node] = answer
                self._missing.update(f"{node} {worker}" for worker in answer.missing)
        return answers

    def as_json(self) -> dict[str, Any]:
        """Return the members `missing` and `problem` of an answer."""
        return {"missing": sorted(self._missing), "problem": self._known.problem}


class ClusterPeople:
    """The connections of all nodes: those of this one by `own`, the others by `asking`."""

    def __init__(self, own: People, registry: Registry, asking: Asking, longest: int) -> None:
        self._own = own
        self._registry = registry
        self._asking = asking
        #: The most octets of a message to a connection of another node.
        self.longest = longest

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the list of all connections, as JSON.

        `missing` names the nodes, and the workers of nodes, that did not answer.
        """
        return (await self._listed(None, wanted))[0]

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """Return a part of the list of the connections on a channel, as JSON.

        `missing` names the nodes, and the workers of nodes, that did not answer.
        """
        return {"channel": channel, **(await self._listed(channel, wanted))[0]}

    async def _listed(
        self, channel: str | None, wanted: Wanted, users: bool = False
    ) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
        """Return a part of a list, and with `users` the marks of its users, by node."""
        if wanted.after and not wanted.node:
            wanted = attrs.evolve(wanted, node=self._asking.node)
        wanted = attrs.evolve(wanted, after=min(wanted.after, LARGEST))
        this = _Round(await self._registry.known(), self._asking)
        user = wanted.user
        count = AskCount(channel, users) if user is None else AskUserCount(user)
        counts = await this.ask_all(count)
        totals = {node: each.total for node, each in counts.items()}
        portions, more = merging.portions(wanted, totals)
        parts = await this.ask(
            {
                node: AskList(channel, each.limit, each.after)
                if user is None
                else AskUserList(user, each.limit, each.after)
                for node, each in portions.items()
            }
        )
        total = {"total": sum(totals.values())}
        said = {**total, **merging.listed(wanted, parts, more), **this.as_json()}
        return said, [each.marks for each in counts.values()]

    async def channels(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the channels of all nodes, as JSON.

        `missing` names the nodes, and the workers of nodes, that did not answer.
        """
        this = _Round(await self._registry.known(), self._asking)
        said = await this.ask_all(AskChannels(part.limit, part.after))
        return {**merging.channels(part, tuple(said.values())), **this.as_json()}

    async def users(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return a part of the users of all nodes, as JSON.

        `missing` names the nodes, and the workers of nodes, that did not answer.
        """
        this = _Round(await self._registry.known(), self._asking)
        said = await this.ask_all(AskUsers(part.limit, part.after))
        return {**merging.users(part, tuple(said.values())), **this.as_json()}

    async def present(self, channel: str) -> Presence:
        """Return how many connections are on a channel, and how many users they have."""
        return await self._presence(channel, 0)

    async def send_user(self, user: str, payload: bytes, is_binary: bool) -> UserReached:
        """Send a message to all connections of a user, on all nodes."""
        return await self._reach(AskSendUser(user, payload, is_binary))

    async def close_user(self, user: str, closing: Closing) -> UserReached:
        """Close all connections of a user, on all nodes."""
        return await self._reach(AskCloseUser(user, closing))

    async def _reach(self, question: Question[UserReached]) -> UserReached:
        this = _Round(await self._registry.known(), self._asking)
        answers = await this.ask_all(question)
        said = this.as_json()
        missing = tuple(said["missing"])
        if said["problem"] is not None and not missing:
            missing = (_OTHERS,)
        return UserReached(
            sum(each.handed for each in answers.values()),
            sum(each.dropped for each in answers.values()),
            missing,
        )

    def presence(self, channel: str, limit: int) -> Deferred[Presence]:
        """Fire with at most `limit` connections on a channel, and their total.

        `missing` names the nodes that did not answer.
        """
        return Deferred.fromCoroutine(self._presence(channel, limit))

    async def _presence(self, channel: str, limit: int) -> Presence:
        said, marks = await self._listed(channel, Wanted(limit), users=True)
        users, told = together(marks)
        people = tuple(
            Person(
                each["id"], each["peer"], each["since"], each["user_agent"], each.get("user", "")
            )
            for each in said["connections"]
        )
        missing = tuple(said["missing"])
        if said["problem"] is not None and not missing:
            # The broker never told which other nodes exist.
            missing = (_OTHERS,)
        return Presence(channel, said["total"], people, missing, users, told)

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close a connection. Return False if it is gone. Raises `UnansweredError`."""
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.close(_number(id_), closing)
        closed = await self._ask_for(id_, id_of, AskClose(id_of.number, closing))
        return bool(closed)

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> SendOutcome:
        """Send a message to a connection.

        Raises `UnansweredError` if its node does not answer, or if the message is too long for
        another node.
        """
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.send(_number(id_), payload, is_binary)
        if len(payload) > self.longest:
            raise UnansweredError(
                Unreached.TOO_LONG,
                f"a message to a connection of another node has at most {self.longest} octets",
            )
        question = AskSend(id_of.number, payload, is_binary)
        outcome = await self._ask_for(id_, id_of, question)
        return SendOutcome.GONE if outcome is None else outcome

    async def trace(self, id_: str) -> TraceOutcome:
        """Return a new trace of a connection of this node, or the reason why there is none.

        Raises `UnansweredError` if it is unknown whether the connection's node is there.
        """
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.trace(_number(id_))
        known = await self._registry.known()
        entry = known.others.get(id_of.node)
        if entry is None:
            if known.problem is not None:
                raise _unreachable(id_, known.problem)
            return TraceRefusal.GONE
        host = None if entry.facts is None else entry.facts.host
        return TracedElsewhere(id_of.node, id_of.number, host)

    def _elsewhere(self, id_: str) -> Id | None:
        """Return the id of a connection of another node; None for one of this node."""
        id_of = Id.of(id_)
        if id_of is None or id_of.node in ("", self._asking.node):
            return None
        return id_of

    async def _ask_for(self, id_: str, id_of: Id, question: Question[T]) -> T | None:
        """Ask a connection's node. Return None if the node is gone. Raises `UnansweredError`."""
        known = await self._registry.known()
        if known.problem is not None:
            raise _unreachable(id_, known.problem)
        if id_of.node not in known.others or id_of.number > LARGEST:
            return None
        answer = (await self._asking.ask({id_of.node: question}))[id_of.node]
        if isinstance(answer, Unheard):
            raise _unanswered(id_, id_of.node, answer)
        return answer


def _number(id_: str) -> str:
    """Return the id that a connection of this node has here: its number."""
    return id_.rpartition(".")[2]


def _unreachable(id_: str, why: str) -> UnansweredError:
    return UnansweredError(Unreached.AWAY, f"connection {id_} is on another node, and {why}")


def _unanswered(id_: str, node: str, how: Unheard) -> UnansweredError:
    if how is Unheard.LATE:
        return UnansweredError(
            Unreached.UNKNOWN,
            f"node {node} gave no answer within {WITHIN:g} s: whether connection {id_} was"
            " reached is not known",
        )
    if how is Unheard.WRONG:
        return UnansweredError(
            Unreached.NOT_UNDERSTOOD, f"node {node} does not understand what it is asked"
        )
    return UnansweredError(
        Unreached.AWAY, f"node {node} is not there: connection {id_} was not reached"
    )
