"""The connections of all workers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ...channels.presence import Presence
from ...cluster.merging import channels, users
from ...cluster.rows import ChannelsPart
from ...directory.ids import Id
from ...directory.listing import Closing, Wanted
from ...directory.outcomes import SendOutcome, TraceRefusal, UnansweredError, Unreached, UserReached
from ...directory.people import TraceOutcome
from ...directory.presence import ChannelsWanted
from ...directory.tracing import MOST_TRACES, Outlet
from ..child.report import OPEN
from ..wire.coding import BusQuestion
from ..wire.orders import (
    BeginTrace,
    CloseConnection,
    CloseUser,
    Flow,
    SendTo,
    SendToUser,
    SteerTrace,
    TellChannels,
    TellConnections,
    TellMembers,
    TellState,
    TellUsers,
    UserCounts,
)
from .presence import of_workers
from .process import Worker
from .requests import Unanswered, missing
from .supervisor import Supervisor

T = TypeVar("T")


def _part(answer: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], name: str) -> ChannelsPart:
    """Return a part of a worker's channels or users, which have a `name`."""
    sizes = tuple((one[name], one["connections"]) for one in rows)
    return ChannelsPart(sizes, answer["next"] is not None, answer["total"])


class OverallTrace:
    """A trace in a worker, with its reader at the parent."""

    def __init__(self, number: int, id_: str, worker: Worker, among: dict[int, Any]) -> None:
        self._number = number
        self._id = id_
        self.worker = worker
        self._among = among
        self._outlet: Outlet | None = None

    def begin(self, outlet: Outlet) -> None:
        """Start the trace, with `outlet` as its reader."""
        self._outlet = outlet
        self.worker.bus.say(BeginTrace(self._number, self._id))

    def heard(self, event: str | None) -> None:
        """Pass on an event of the trace; None ends it."""
        if event is None:
            self.end()
        elif self._outlet is not None:
            self._outlet.write(event.encode())

    def end(self) -> None:
        """End the trace. Idempotent."""
        self._among.pop(self._number, None)
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.end()

    def pauseProducing(self) -> None:
        """Ask the worker to pause the trace."""
        self._flow("pause")

    def resumeProducing(self) -> None:
        """Ask the worker to resume the trace."""
        self._flow("resume")

    def stopProducing(self) -> None:
        """End the trace: the reader is gone."""
        self._outlet = None
        self._among.pop(self._number, None)
        self._flow("stop")

    def _flow(self, to: Flow) -> None:
        self.worker.bus.say(SteerTrace(self._number, to))


class OverallPeople:
    """The connections of all workers. See `directory.people.People`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self.traces: dict[int, OverallTrace] = {}

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        """Return the list of connections; `missing` names the workers that did not answer."""
        return await self._listed(TellConnections(wanted.limit, wanted.after, wanted.user), wanted)

    async def channels(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return the list of channels; `missing` names the workers that did not answer."""
        answers, missing = await self._ask_all(TellChannels(part.limit, part.after))
        parts = [_part(each, each["channels"], "channel") for each in answers]
        return {**channels(part, parts), "missing": missing}

    async def users(self, part: ChannelsWanted) -> dict[str, Any]:
        """Return the list of users; `missing` names the workers that did not answer."""
        answers, missing = await self._ask_all(TellUsers(part.limit, part.after))
        parts = [_part(each, each["users"], "id") for each in answers]
        return {**users(part, parts), "missing": missing}

    async def present(self, channel: str) -> Presence:
        """Return how many connections are on a channel, and how many users they have."""
        return await of_workers(self._supervisor)(channel, 0)

    async def send_user(self, user: str, payload: bytes, is_binary: bool) -> UserReached:
        """Send a message to all connections of a user."""
        return await self._reach(SendToUser.of(user, payload, is_binary))

    async def close_user(self, user: str, closing: Closing) -> UserReached:
        """Close all connections of a user."""
        return await self._reach(CloseUser(user, int(closing.code), closing.reason))

    async def _reach(self, question: BusQuestion[UserCounts]) -> UserReached:
        answers, missing = await self._ask_all(question)
        handed = sum(each.handed for each in answers)
        dropped = sum(each.dropped for each in answers)
        return UserReached(handed, dropped, tuple(missing))

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        """Return the connections on a channel; `missing` names the workers that did not answer."""
        question = TellMembers(channel, wanted.limit, wanted.after)
        return {"channel": channel, **await self._listed(question, wanted)}

    async def _listed(
        self, question: BusQuestion[Mapping[str, Any]], wanted: Wanted
    ) -> dict[str, Any]:
        answers, missing = await self._ask_all(question)
        found = [one for each in answers for one in each["connections"]]
        found.sort(key=lambda one: int(one["id"]))
        shown = found[: wanted.limit]
        more = len(found) > len(shown) or any(each["next"] is not None for each in answers)
        return {
            "total": sum(each["total"] for each in answers),
            "connections": shown,
            "next": shown[-1]["id"] if more and shown else None,
            "missing": missing,
        }

    async def _ask_all(self, question: BusQuestion[T]) -> tuple[list[T], list[str]]:
        """Return the answers of the workers, and the names of those that did not answer."""
        workers = self._supervisor.serving()
        said = await self._supervisor.ask(workers, question)
        answers = [each for each in said if not isinstance(each, Unanswered)]
        return answers, missing(workers, said)

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> SendOutcome:
        """Send a message to a connection."""
        outcome = await self._ask(id_, SendTo.of(id_, payload, is_binary))
        try:
            return SendOutcome(outcome)
        except ValueError:
            raise UnansweredError(
                Unreached.NOT_UNDERSTOOD, f"the outcome for connection {id_} is not known here"
            ) from None

    async def close(self, id_: str, closing: Closing) -> bool:
        """Close a connection. Return False if there is none."""
        question = CloseConnection(id_, int(closing.code), closing.reason)
        is_there = await self._ask(id_, question)
        return bool(is_there)

    async def trace(self, id_: str) -> TraceOutcome:
        """Return a new trace of a connection, or the reason why there is none."""
        state = await self._ask(id_, TellState(id_))
        worker = self._worker_of(id_)
        if state is None or worker is None:
            return TraceRefusal.GONE
        if state != OPEN:
            return TraceRefusal.OPENING
        if len(self.traces) >= MOST_TRACES:
            return TraceRefusal.TOO_MANY
        number = next(self._numbers)
        trace = OverallTrace(number, id_, worker, self.traces)
        self.traces[number] = trace
        return trace

    def _worker_of(self, id_: str) -> Worker | None:
        id_of = Id.of(id_)
        if id_of is None or id_of.node:
            return None
        serving = self._supervisor.serving()
        return next((each for each in serving if id_of.number in each.connections), None)

    async def _ask(self, id_: str, question: BusQuestion[T]) -> T | None:
        """Ask the worker of a connection. Return None without one. Raises `UnansweredError`."""
        worker = self._worker_of(id_)
        if worker is None:
            return None
        (answer,) = await self._supervisor.ask([worker], question)
        if answer is Unanswered.TOO_LONG:
            raise UnansweredError(
                Unreached.TOO_LONG,
                f"worker {worker.number} {answer.value}: connection {id_} was not reached",
            )
        if isinstance(answer, Unanswered):
            raise UnansweredError(
                Unreached.UNKNOWN,
                f"worker {worker.number} {answer.value}: whether connection {id_} was reached"
                " is not known",
            )
        return answer

    def heard(self, number: int, event: str | None) -> None:
        """Pass on an event of a trace."""
        trace = self.traces.get(number)
        if trace is not None:
            trace.heard(event)

    def lost(self, worker: Worker) -> None:
        """End the traces of a worker that is gone."""
        for trace in tuple(self.traces.values()):
            if trace.worker is worker:
                trace.end()

    def end(self) -> None:
        """End all traces."""
        for trace in tuple(self.traces.values()):
            trace.end()
