"""A worker's reports to its parent, for the admin face: figures, connections, traces."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...channels.contract import Hub
from ...directory.lag import Lag
from ...directory.listing import Closing, Wanted, find
from ...directory.people import close_user, is_opening, listed, send, send_user
from ...directory.presence import ChannelsWanted, channels, members, users
from ...directory.tracing import Trace, Traces
from ...directory.traffic import passed_on
from ...log.journal import Journal
from ...metrics import Traffic
from ...server.behaviours import ServerFactory
from ..wire.bus import Bus
from ..wire.coding import BusMessage, handler, unknown
from ..wire.orders import (
    BeginTrace,
    CloseConnection,
    CloseUser,
    SendTo,
    SendToUser,
    SteerTrace,
    TellChannels,
    TellConnections,
    TellDoing,
    TellFigures,
    TellMembers,
    TellState,
    TellUsers,
    UserCounts,
    WorkerDoing,
)
from ..wire.reports import LastFigures, NoReply, TraceEvent
from .sketch import Census

if TYPE_CHECKING:
    from ...broker.figures import Box, Meeting, Servers
    from ...webhook.figures import CountedWebhook

OPEN, OPENING = "open", "opening"
"""The state of a connection to be traced; None for one that is gone."""

_log = Logger(namespace="wsservice")


@attrs.frozen
class _Outlet:
    """The reader of a trace, on the parent's side."""

    _bus: Bus
    _number: int
    _among: dict[int, Trace]

    def write(self, octets: bytes) -> None:
        """Send a part of the trace."""
        self._bus.say(TraceEvent(self._number, octets.decode()))

    def end(self) -> None:
        """Tell the parent that the trace has ended."""
        self._among.pop(self._number, None)
        self._bus.say(TraceEvent(self._number, None))

    abort = end


class Shown:
    """Answers requests of the parent."""

    def __init__(
        self,
        factory: ServerFactory,
        hub: Hub,
        journal: Journal,
        bus: Bus,
        reactor: Any,
        census: Census,
        engine: Servers | None = None,
        inbox: Box | None = None,
        meeting: Meeting | None = None,
        webhook: CountedWebhook | None = None,
    ) -> None:
        self._webhook = webhook
        self._factory = factory
        self._hub = hub
        self._journal = journal
        self._bus = bus
        self._reactor = reactor
        self._census = census
        self._engine = engine
        self._meeting = meeting
        self._inbox = inbox
        self._lag = Lag(reactor)
        self._traces = Traces(reactor)
        self._numbered: dict[int, Trace] = {}

    def hear(self, message: BusMessage) -> None:
        """Answer a question of the parent, or steer a trace. Raises `MessageError`."""
        act = _ASKED.get(type(message))
        if act is None:
            raise unknown(message.kind)
        act(self, message)

    def start(self) -> None:
        """Start the measurements that run all the time."""
        self._lag.start()

    def stop(self) -> None:
        """Stop, and send the last figures."""
        self._lag.stop()
        self._traces.end()
        self._bus.say(LastFigures(self.figures()))

    def figures(self) -> dict[str, Any]:
        """Return all figures of this worker, in types of JSON. They can be added up.

        Peers cannot make them long: they contain counts, and no names.
        """
        connections: list[Any] = list(self._hub)
        passed = [each.traffic() for each in connections]
        traffic = Traffic(*map(sum, zip(self._factory.counts.past, *passed, strict=True)))
        return self._figures(traffic, len(connections))

    def _figures(self, traffic: Traffic, held: int) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "counts": self._factory.counts.state(),
            "traffic": list(traffic),
            "held": held,
            "open": self._hub.sizes().open,
            "publishing": self._hub.publishing.state(),
            "lag": self._lag.seconds.state(),
            "counters": {
                "slow_closed": self._factory.slow_closed,
                "slow_dropped": self._factory.slow_dropped,
                "slow_messages": self._factory.slow_messages,
                "log_dropped": self._journal.dropped,
                "bus_dropped": self._bus.dropped,
                **self._factory.memory_counters(),
                **self._factory.rates.counts,
            },
            "rate_waiting": self._factory.rates.waiting,
            "memory_for_messages": self._factory.memory_gauges(),
            **self._broker(),
            "webhook": self._webhook_figures(),
            "cpu": used.ru_utime + used.ru_stime,
            "memory": _resident(),
        }

    def _broker(self) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        if self._engine is not None:
            figures |= {"broker": self._engine.figures, "broker_states": self._engine.states}
        if self._meeting is not None:
            figures |= {"meeting": self._meeting.figures, "meeting_states": self._meeting.states}
        if self._inbox is not None:
            figures |= {"inbox": self._inbox.figures, "inbox_states": self._inbox.states}
        return figures

    def _webhook_figures(self) -> dict[str, Any]:
        webhook = self._webhook
        if webhook is None:
            return {}
        return {
            "delivered": webhook.delivered,
            "dropped": webhook.dropped,
            "waiting": webhook.waiting,
            "attempts": dict(webhook.attempts),
        }

    def _connections(self) -> list[Any]:
        # Connections of several ports may be out of order, and the list is sorted by id.
        everybody: list[Any] = list(self._hub)
        return sorted(everybody, key=lambda each: int(each.id))

    def _tell_figures(self, message: TellFigures) -> None:
        told = Deferred.fromCoroutine(self._figures_in_parts(message))
        told.addErrback(self._refuse, message.request)

    async def _figures_in_parts(self, message: TellFigures) -> None:
        connections: list[Any] = list(self._hub)
        traffic = await passed_on(self._factory.counts.past, connections, self._reactor)
        figures = self._figures(traffic, len(connections))
        sketch = self._census.sketch(self._hub.local_count)
        self._bus.say(message.reply({**figures, "channels": sketch}))

    def _refuse(self, failure: Failure, request: int) -> None:
        _log.failure("cannot tell the figures", failure)
        self._bus.say(NoReply(request))

    def _tell_doing(self, message: TellDoing) -> None:
        self._bus.say(message.reply(WorkerDoing(len(self._hub), self._lag.lately)))

    def _list(self, message: TellConnections) -> None:
        wanted = Wanted(message.limit, message.after, user=message.user)
        self._bus.say(message.reply(listed(self._connections, self._hub, wanted)))

    def _close(self, message: CloseConnection) -> None:
        connection = find(self._connections(), message.connection)
        if connection is not None:
            closing = Closing(message.code, message.reason)
            connection.close_for_operator(closing.code, closing.reason)
        self._bus.say(message.reply(connection is not None))

    def _send(self, message: SendTo) -> None:
        connection = find(self._connections(), message.connection)
        outcome = send(connection, message.payload, message.binary)
        self._bus.say(message.reply(outcome.value))

    def _list_channels(self, message: TellChannels) -> None:
        part = ChannelsWanted(message.limit, message.after)
        found = channels(self._hub.channels(), self._hub.local_count, part)
        self._bus.say(message.reply(found))

    def _list_members(self, message: TellMembers) -> None:
        wanted = Wanted(message.limit, message.after)
        here: Any = self._hub.local_members(message.channel)
        self._bus.say(message.reply(members(message.channel, here, wanted)))

    def _list_users(self, message: TellUsers) -> None:
        part = ChannelsWanted(message.limit, message.after)
        self._bus.say(message.reply(users(self._hub.users(), self._hub.user_count, part)))

    def _send_user(self, message: SendToUser) -> None:
        said = send_user(self._hub, message.user, message.payload, message.binary)
        self._bus.say(message.reply(UserCounts(said.handed, said.dropped)))

    def _close_user(self, message: CloseUser) -> None:
        said = close_user(self._hub, message.user, Closing(message.code, message.reason))
        self._bus.say(message.reply(UserCounts(said.handed, said.dropped)))

    def _look(self, message: TellState) -> None:
        connection = find(self._connections(), message.connection)
        answer = None
        if connection is not None:
            answer = OPENING if is_opening(connection) else OPEN
        self._bus.say(message.reply(answer))

    def _trace(self, message: BeginTrace) -> None:
        number = message.trace
        outlet = _Outlet(self._bus, number, self._numbered)
        connection = find(self._connections(), message.connection)
        trace = None if connection is None else self._traces.trace(connection)
        if trace is None:
            outlet.end()
            return
        self._numbered[number] = trace
        trace.begin(outlet)

    def _flow(self, message: SteerTrace) -> None:
        trace = self._numbered.get(message.trace)
        if trace is None:
            return
        if message.to == "pause":
            trace.pauseProducing()
        elif message.to == "resume":
            trace.resumeProducing()
        else:
            del self._numbered[message.trace]
            trace.stopProducing()


_ASKED = dict(
    [
        handler(TellFigures, Shown._tell_figures),
        handler(TellConnections, Shown._list),
        handler(CloseConnection, Shown._close),
        handler(SendTo, Shown._send),
        handler(TellChannels, Shown._list_channels),
        handler(TellMembers, Shown._list_members),
        handler(TellUsers, Shown._list_users),
        handler(SendToUser, Shown._send_user),
        handler(CloseUser, Shown._close_user),
        handler(TellDoing, Shown._tell_doing),
        handler(TellState, Shown._look),
        handler(BeginTrace, Shown._trace),
        handler(SteerTrace, Shown._flow),
    ]
)


def _resident() -> int:
    """Return the resident memory of this process in octets, 0 if the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
