"""What a worker shows its parent, for the admin face: figures, connections, traces."""

from __future__ import annotations

import base64
import os
import resource
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..admin.broker import Meeting, Servers
from ..admin.inbox import Box
from ..admin.lag import Lag
from ..admin.listing import Closing, Wanted, find, list_of
from ..admin.people import is_opening, send
from ..admin.tracing import Trace, Traces
from ..admin.webhook import Sender
from ..counting import Traffic
from ..hub import LocalHub
from ..journal import Journal
from ..server import ServerFactory
from .bus import Bus

OPEN, OPENING = "open", "opening"
"""How far a connection is that is to be traced; None for one that is gone."""


@attrs.frozen
class _Outlet:
    """The reader of a trace, who is at the parent."""

    _bus: Bus
    _number: int
    _among: dict[int, Trace]

    def write(self, octets: bytes) -> None:
        """Send some of it."""
        self._bus.say("traced", trace=self._number, event=octets.decode())

    def end(self) -> None:
        """That was all."""
        self._among.pop(self._number, None)
        self._bus.say("traced", trace=self._number, event=None)

    abort = end


class Shown:
    """Answers what the parent asks. Each method named in `asked` takes a message."""

    def __init__(
        self,
        factory: ServerFactory,
        hub: LocalHub,
        journal: Journal,
        bus: Bus,
        reactor: Any,
        engine: Servers | None = None,
        inbox: Box | None = None,
        meeting: Meeting | None = None,
        webhook: Sender | None = None,
    ) -> None:
        self._webhook = webhook
        self._factory = factory
        self._hub = hub
        self._journal = journal
        self._bus = bus
        self._engine = engine
        self._meeting = meeting
        self._inbox = inbox
        self._lag = Lag(reactor)
        self._traces = Traces(reactor)
        self._numbered: dict[int, Trace] = {}
        #: By what is said.
        self.asked: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "figures": self._tell_figures,
            "list": self._list,
            "close": self._close,
            "send": self._send,
            "channels": self._list_channels,
            "members": self._list_members,
            "doing": self._tell_doing,
            "look": self._look,
            "trace": self._trace,
            "flow": self._flow,
        }

    def start(self) -> None:
        """Measure what is measured all the time."""
        self._lag.start()

    def stop(self) -> None:
        """Say for the last time how much of everything there was."""
        self._lag.stop()
        self._traces.end()
        self._bus.say("figures", figures=self.figures())

    def figures(self) -> dict[str, Any]:
        """All that is counted here, in what JSON can say. The sum of several is one of all."""
        passed = [each.traffic() for each in self._connections()]
        traffic = Traffic(*map(sum, zip(self._factory.counts.past, *passed, strict=True)))
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "counts": self._factory.counts.state(),
            "traffic": list(traffic),
            "held": len(passed),
            "channels": dict(self._hub.channels()),
            "publishing": self._hub.publishing.state(),
            "lag": self._lag.seconds.state(),
            "counters": {
                "slow_closed": self._factory.slow_closed,
                "slow_dropped": self._factory.slow_dropped,
                "slow_messages": self._factory.slow_messages,
                "log_dropped": self._journal.dropped,
                "bus_dropped": self._bus.dropped,
            },
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
        # They may have come by several ports, and the list is in the order of ids.
        everybody: list[Any] = list(self._hub)
        return sorted(everybody, key=lambda each: int(each.id))

    def _answer(self, message: Mapping[str, Any], answer: Any) -> None:
        self._bus.say("answer", request=message["request"], answer=answer)

    def _tell_figures(self, message: Mapping[str, Any]) -> None:
        self._answer(message, self.figures())

    def _tell_doing(self, message: Mapping[str, Any]) -> None:
        doing = {"connections": len(self._hub), "lag": self._lag.lately}
        self._answer(message, doing)

    def _list(self, message: Mapping[str, Any]) -> None:
        wanted = Wanted(message["limit"], message["after"])
        self._answer(message, list_of(self._connections(), wanted))

    def _close(self, message: Mapping[str, Any]) -> None:
        connection = find(self._connections(), message["connection"])
        if connection is not None:
            closing = Closing(message["code"], message["reason"])
            connection.close_for_operator(closing.code, closing.reason)
        self._answer(message, connection is not None)

    def _send(self, message: Mapping[str, Any]) -> None:
        connection = find(self._connections(), message["connection"])
        payload = base64.b64decode(message["data64"])
        outcome = None if connection is None else send(connection, payload, message["binary"])
        self._answer(message, outcome)

    def _list_channels(self, message: Mapping[str, Any]) -> None:
        self._answer(message, dict(self._hub.channels()))

    def _list_members(self, message: Mapping[str, Any]) -> None:
        found: list[Any] = sorted(
            self._hub.members(message["channel"]), key=lambda each: int(each.id)
        )
        self._answer(message, list_of(found, Wanted(message["limit"], message["after"])))

    def _look(self, message: Mapping[str, Any]) -> None:
        connection = find(self._connections(), message["connection"])
        answer = None
        if connection is not None:
            answer = OPENING if is_opening(connection) else OPEN
        self._answer(message, answer)

    def _trace(self, message: Mapping[str, Any]) -> None:
        number = message["trace"]
        outlet = _Outlet(self._bus, number, self._numbered)
        connection = find(self._connections(), message["connection"])
        trace = None if connection is None else self._traces.trace(connection)
        if trace is None:
            outlet.end()
            return
        self._numbered[number] = trace
        trace.begin(outlet)

    def _flow(self, message: Mapping[str, Any]) -> None:
        trace = self._numbered.get(message["trace"])
        if trace is None:
            return
        if message["to"] == "pause":
            trace.pauseProducing()
        elif message["to"] == "resume":
            trace.resumeProducing()
        else:
            del self._numbered[message["trace"]]
            trace.stopProducing()


def _resident() -> int:
    """Octets of memory that are this process's, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
