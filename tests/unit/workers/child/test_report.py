from __future__ import annotations

from typing import Any
from unittest import mock

import attrs
import pytest
from twisted.logger import capturedLogs

from wsservice.auth.contract import User
from wsservice.directory import traffic
from wsservice.metrics import Counts
from wsservice.server.behaviours import EchoServerProtocol
from wsservice.workers.child import report as module
from wsservice.workers.child.report import Shown
from wsservice.workers.child.sketch import Census, estimated
from wsservice.workers.parent.sums import added
from wsservice.workers.wire.coding import BusMessage, BusQuestion
from wsservice.workers.wire.orders import (
    BeginTrace,
    CloseConnection,
    CloseUser,
    Flow,
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
from wsservice.workers.wire.reports import LastFigures, NoReply, TraceEvent, from_worker

from ....support import BINARY, CLOSE, Served, close_payload


class Bus:
    """A bus that keeps what is said on it."""

    dropped = 2

    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, message: BusMessage) -> None:
        self.said.append(from_worker(message.body()))


class Worker:
    """The reports of a server in memory."""

    def __init__(self) -> None:
        self.served = Served(EchoServerProtocol)
        self.bus = Bus()
        served, bus = self.served, self.bus
        served.hub.channel_sizes = census = Census(b"key")
        journal: Any = served.factory.journal
        self.shown = Shown(served.factory, served.hub, journal, bus, served.clock, census)  # type: ignore[arg-type]

    def ask(self, question: BusQuestion[Any]) -> Any:
        """The answer to a question."""
        self.shown.hear(attrs.evolve(question, request=5))
        reply = self.bus.said.pop()
        assert reply.request == 5
        return question.answer_of(reply.answer)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_figures_are_those_of_connections_that_are_and_were(worker: Worker) -> None:
    first, second = (worker.served.connect().open("/news") for _ in range(2))
    for client in (first, second):
        client.text("hello")
    first.lose()
    figures = worker.ask(TellFigures())
    assert figures["traffic"][:2] == [2, 2]
    assert figures["held"] == figures["open"] == 1
    assert estimated([figures.pop("channels")]) == (1, 1)
    assert figures["counters"]["bus_dropped"] == 2
    assert figures["memory"] > 0
    assert figures["cpu"] > 0
    both = added(figures, figures)
    assert both["traffic"][:2] == [4, 4]
    assert Counts.of(both["counts"]).opened == 4
    assert Counts.of(both["counts"]).closes["1006"] == 2


def test_of_many_connections_they_are_told_in_several_turns(worker: Worker) -> None:
    clients = [worker.served.connect().open(f"/{number}") for number in range(3)]
    for client in clients:
        client.text("hello")
    with mock.patch.object(traffic, "_AT_ONCE", 2):
        worker.shown.hear(TellFigures(request=5))
        assert worker.bus.said == []
        clients[2].lose()
        worker.served.clock.advance(0)
    reply = worker.bus.said.pop()
    figures = reply.answer
    assert (reply.request, figures["held"], figures["traffic"][0]) == (5, 3, 3)
    assert estimated([figures["channels"]]) == (2, 1)


def test_the_parent_is_told_where_they_cannot_be_told(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> object:
        raise RuntimeError("no sketch")

    monkeypatch.setattr(Census, "sketch", fail)
    with capturedLogs() as logged:
        worker.shown.hear(TellFigures(request=5))
    assert worker.bus.said == [NoReply(5)]
    assert [each["log_level"].name for each in logged] == ["critical"]


def test_so_are_those_of_a_webhook_where_there_is_one(worker: Worker) -> None:
    assert worker.ask(TellFigures())["webhook"] == {}

    class Webhook:
        delivered, dropped, waiting = 3, 2, 1
        attempts = {"taken": 2, "failed": 1}

    worker.shown._webhook = Webhook()
    figures = worker.shown.figures()
    assert added(figures, figures)["webhook"] == {
        "delivered": 6,
        "dropped": 4,
        "waiting": 2,
        "attempts": {"taken": 4, "failed": 2},
    }


def test_how_late_the_reactor_is_is_measured(worker: Worker) -> None:
    worker.shown.start()
    worker.served.clock.advance(0.25)
    assert sum(worker.ask(TellFigures())["lag"][1:]) == 1
    worker.shown.stop()
    last = worker.bus.said.pop()
    assert isinstance(last, LastFigures)
    assert sum(last.figures["lag"][1:]) == 1
    assert worker.served.clock.getDelayedCalls() == []


def test_connections_are_listed_in_the_order_of_their_ids(worker: Worker) -> None:
    worker.served.factory.ids = iter(["7", "3", "5"])
    for _ in range(3):
        worker.served.connect().open()
    said = worker.ask(TellConnections(2, 0))
    assert [each["id"] for each in said["connections"]] == ["3", "5"]
    assert (said["total"], said["next"]) == (3, "5")


def test_one_is_closed_by_its_id(worker: Worker) -> None:
    client = worker.served.connect().open()
    assert worker.ask(CloseConnection("1", 4001, "bye")) is True
    assert client.frames() == [(CLOSE, close_payload(4001, b"bye"))]
    assert worker.ask(CloseConnection("2", 4001, "")) is False


def test_one_is_sent_a_message_by_its_id(worker: Worker) -> None:
    worker.served.connect()
    client = worker.served.connect().open()
    outcomes = [worker.ask(SendTo(each, "aGk=", True)) for each in ("1", "2", "3")]
    assert outcomes == ["opening", "handed", None]
    assert client.frames() == [(BINARY, b"hi")]
    client.close()
    assert worker.ask(SendTo.of("2", b"hi", True)) == "closing"


def test_channels_and_who_is_on_one(worker: Worker) -> None:
    worker.served.factory.ids = iter(["7", "3", "5"])
    for path in ("/news", "/chat", "/news"):
        worker.served.connect().open(path)
    assert worker.ask(TellChannels(1, None)) == {
        "total": 2,
        "channels": [{"channel": "chat", "connections": 1}],
        "next": "chat",
    }
    assert worker.ask(TellChannels(1, "chat"))["channels"] == [
        {"channel": "news", "connections": 2}
    ]
    said = worker.ask(TellMembers("news", 1, 0))
    assert [each["id"] for each in said["connections"]] == ["5"]
    assert (said["total"], said["next"]) == (2, "5")


def test_it_says_what_it_does(worker: Worker) -> None:
    worker.served.connect().open("/news")
    worker.shown.start()
    worker.served.clock.advance(0.25)
    worker.served.clock.advance(1.25)
    assert worker.ask(TellDoing()) == WorkerDoing(1, 1.0)
    worker.shown.stop()


def test_it_says_how_far_one_is(worker: Worker) -> None:
    worker.served.connect()
    worker.served.connect().open()
    assert [worker.ask(TellState(each)) for each in ("1", "2", "3")] == [
        "opening",
        "open",
        None,
    ]


class TestTrace:
    def begin(self, worker: Worker, connection: str = "1") -> None:
        worker.shown.hear(BeginTrace(9, connection))

    def test_its_events_are_said_as_they_happen_to_the_end(self, worker: Worker) -> None:
        client = worker.served.connect().open()
        self.begin(worker)
        assert worker.bus.said == [TraceEvent(9, ": connection 1\n\n")]
        client.text("watched")
        assert '"payload":"watched"' in worker.bus.said[1].event
        client.close()
        client.lose()
        assert worker.bus.said[-2].event.startswith("event: closed\n")
        assert worker.bus.said[-1] == TraceEvent(9, None)
        assert worker.shown._numbered == {}

    def test_of_one_that_is_gone_there_are_none(self, worker: Worker) -> None:
        self.begin(worker)
        assert worker.bus.said == [TraceEvent(9, None)]

    def test_a_slow_reader_is_waited_for_and_one_that_is_gone_is_not(self, worker: Worker) -> None:
        client = worker.served.connect().open()
        self.begin(worker)
        steps: list[tuple[Flow, int]] = [("pause", 1), ("resume", 3), ("stop", 3), ("pause", 3)]
        for to, count in steps:
            worker.shown.hear(SteerTrace(9, to))
            if to == "pause":
                client.text("watched")
            assert len(worker.bus.said) == count, to
        assert worker.shown._numbered == {}


def test_where_the_system_does_not_tell_memory_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("no")

    monkeypatch.setattr("builtins.open", fail)
    assert module._resident() == 0


def test_users_are_listed_reached_and_closed(worker: Worker) -> None:
    clients = [worker.served.connect().open("/x") for _ in range(4)]
    for client, user in zip(clients, ("tom", "ann", "tom"), strict=False):
        client.protocol.user = User(user)
    assert worker.ask(TellUsers(1, None)) == {
        "total": 2,
        "users": [{"id": "ann", "connections": 1}],
        "next": "ann",
    }
    assert worker.ask(TellUsers(5, "ann"))["users"] == [{"id": "tom", "connections": 2}]
    listed = worker.ask(TellConnections(1, 1, "tom"))
    assert [each["id"] for each in listed["connections"]] == ["3"]
    assert worker.ask(TellConnections(0, 0, "eve"))["total"] == 0
    assert worker.ask(SendToUser.of("tom", b"\xff", True)) == UserCounts(2, 0)
    assert [each.frames() for each in clients] == [
        [(BINARY, b"\xff")],
        [],
        [(BINARY, b"\xff")],
        [],
    ]
    assert worker.ask(CloseUser("tom", 4001, "x")) == UserCounts(2, 0)
    assert clients[2].frames() == [(CLOSE, close_payload(4001, b"x"))]
    assert worker.ask(CloseUser("eve", 4001, "x")) == UserCounts(0, 0)
