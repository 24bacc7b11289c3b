"""The connections of all nodes, as the admin face needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import attrs

from ..admin.exchange import Answer, Stream, problem
from ..admin.ids import Id
from ..admin.listing import Closing, Wanted
from ..admin.people import People, UnansweredError, gone
from ..admin.presence import Part
from . import merging
from .asking import WITHIN, Asking, Unheard
from .checking import LARGEST
from .questions import AskChannels, AskClose, AskCount, AskList, AskSend, Question
from .registry import Known, Registry

T = TypeVar("T")


class _Round:
    """One request: which nodes there are, and which of them did not answer."""

    def __init__(self, known: Known, asking: Asking) -> None:
        self._known = known
        self._asking = asking
        self._missing: set[str] = set()
        if known.problem is not None:
            # The way to them is that which is away.
            self._missing.update(known.others)

    @property
    def nodes(self) -> list[str]:
        """Those that answer, as far as it is known."""
        everybody = {self._asking.node, *self._known.others}
        return sorted(everybody - self._missing)

    async def ask_all(self, question: Question[T]) -> dict[str, T]:
        """What those say that answer."""
        return await self.ask(dict.fromkeys(self.nodes, question))

    async def ask(self, questions: Mapping[str, Question[T]]) -> dict[str, T]:
        """The same of some, each of which has a question of its own."""
        answers: dict[str, T] = {}
        for node, answer in (await self._asking.ask(questions)).items():
            if isinstance(answer, Unheard):
                self._missing.add(node)
            else:
                answers[node] = answer
        return answers

    def as_json(self) -> dict[str, Any]:
        """Who is missing in an answer."""
        return {"missing": sorted(self._missing), "problem": self._known.problem}


class ClusterPeople:
    """The connections of all nodes: of this one by `own`, of the others by asking them."""

    def __init__(self, own: People, registry: Registry, asking: Asking, longest: int) -> None:
        self._own = own
        self._registry = registry
        self._asking = asking
        #: Octets that a message to a connection of another node may have.
        self.longest = longest

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it, of those that answer; `missing` names the others."""
        return await self._listed(None, wanted)

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """As `People` has it, of those that answer; `missing` names the others."""
        return {"channel": channel, **await self._listed(channel, wanted)}

    async def _listed(self, channel: str | None, wanted: Wanted) -> dict[str, Any]:
        if wanted.after and not wanted.node:
            wanted = attrs.evolve(wanted, node=self._asking.node)
        wanted = attrs.evolve(wanted, after=min(wanted.after, LARGEST))
        this = _Round(await self._registry.known(), self._asking)
        totals = await this.ask_all(AskCount(channel))
        portions, more = merging.portions(wanted, totals)
        parts = await this.ask(
            {node: AskList(channel, each.limit, each.after) for node, each in portions.items()}
        )
        total = {"total": sum(totals.values())}
        return {**total, **merging.listed(wanted, parts, more), **this.as_json()}

    async def channels(self, part: Part) -> dict[str, Any]:
        """As `People` has it, of those that answer; `missing` names the others."""
        this = _Round(await self._registry.known(), self._asking)
        said = await this.ask_all(AskChannels(part.limit, part.after))
        return {**merging.channels(part, tuple(said.values())), **this.as_json()}

    async def close(self, id_: str, closing: Closing) -> bool:
        """As `People` has it."""
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.close(_number(id_), closing)
        closed = await self._ask_for(id_, id_of, AskClose(id_of.number, closing))
        return bool(closed)

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> str | None:
        """As `People` has it."""
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.send(_number(id_), payload, is_binary)
        if len(payload) > self.longest:
            raise UnansweredError(
                413, f"a message to a connection of another node has at most {self.longest} octets"
            )
        return await self._ask_for(id_, id_of, AskSend(id_of.number, payload, is_binary))

    async def trace(self, id_: str) -> Stream | Answer:
        """As `People` has it, but of this node alone; of another it is said where to ask."""
        id_of = self._elsewhere(id_)
        if id_of is None:
            return await self._own.trace(_number(id_))
        known = await self._registry.known()
        entry = known.others.get(id_of.node)
        if entry is None:
            return gone(id_) if known.problem is None else _unreachable(id_, known.problem)
        where = "" if entry.facts is None else f", on {entry.facts.host}"
        return problem(
            421,
            f"connection {id_} is traced by its own node alone: ask {id_of.node}{where},"
            f" for /connections/{id_of.number}/trace",
        )

    def _elsewhere(self, id_: str) -> Id | None:
        """The connection of a name, where it is not on this node."""
        id_of = Id.of(id_)
        if id_of is None or id_of.node in ("", self._asking.node):
            return None
        return id_of

    async def _ask_for(self, id_: str, id_of: Id, question: Question[T]) -> T | None:
        """What a connection's node says; None: there is no such node. Raises `UnansweredError`."""
        known = await self._registry.known()
        if known.problem is not None:
            _unreachable(id_, known.problem)
        if id_of.node not in known.others or id_of.number > LARGEST:
            return None
        answer = (await self._asking.ask({id_of.node: question}))[id_of.node]
        if isinstance(answer, Unheard):
            raise _unanswered(id_, id_of.node, answer)
        return answer


def _number(id_: str) -> str:
    """What a connection of this node is called here."""
    return id_.rpartition(".")[2]


def _unreachable(id_: str, why: str) -> NoReturn:
    raise UnansweredError(503, f"connection {id_} is on another node, and {why}")


def _unanswered(id_: str, node: str, how: Unheard) -> UnansweredError:
    if how is Unheard.LATE:
        return UnansweredError(
            504,
            f"node {node} gave no answer within {WITHIN:g} s: whether connection {id_} was"
            " reached is not known",
        )
    if how is Unheard.WRONG:
        return UnansweredError(502, f"node {node} does not understand what it is asked")
    return UnansweredError(503, f"node {node} is not there: connection {id_} was not reached")
