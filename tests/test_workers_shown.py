from __future__ import annotations

import json
from typing import Any

import pytest

from wsservice.counting import Counts
from wsservice.server import EchoServerProtocol
from wsservice.workers import shown as module
from wsservice.workers.shown import Shown
from wsservice.workers.sums import added

from .support import BINARY, CLOSE, Served, close_payload


class Bus:
    """A bus that keeps what is said on it."""

    dropped = 2

    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, what: str, **members: Any) -> None:
        json.dumps(members)
        self.said.append((what, *members.values()))


class Worker:
    """What is shown of a server in memory."""

    def __init__(self) -> None:
        self.served = Served(EchoServerProtocol)
        self.bus = Bus()
        served, bus = self.served, self.bus
        self.shown = Shown(served.factory, served.hub, served.factory.journal, bus, served.clock)  # type: ignore[arg-type]

    def ask(self, what: str, **members: Any) -> Any:
        """The answer to a question."""
        self.shown.asked[what]({"request": 5, **members})
        said, request, answer = self.bus.said.pop()
        assert (said, request) == ("answer", 5)
        return answer


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_figures_are_those_of_connections_that_are_and_were(worker: Worker) -> None:
    first, second = (worker.served.connect().open("/news") for _ in range(2))
    for client in (first, second):
        client.text("hello")
    first.lose()
    figures = worker.ask("figures")
    assert figures["traffic"][:2] == [2, 2]
    assert figures["held"] == 1
    assert figures["channels"] == {"news": 1}
    assert figures["counters"]["bus_dropped"] == 2
    assert figures["memory"] > 0
    assert figures["cpu"] > 0
    both = added(figures, figures)
    assert both["traffic"][:2] == [4, 4]
    assert Counts.of(both["counts"]).opened == 4
    assert Counts.of(both["counts"]).closes["1006"] == 2


def test_so_are_those_of_a_webhook_where_there_is_one(worker: Worker) -> None:
    assert worker.ask("figures")["webhook"] == {}

    class Webhook:
        delivered, dropped, waiting = 3, 2, 1
        attempts = {"taken": 2, "failed": 1}

    worker.shown._webhook = Webhook()
    figures = worker.ask("figures")
    assert added(figures, figures)["webhook"] == {
        "delivered": 6,
        "dropped": 4,
        "waiting": 2,
        "attempts": {"taken": 4, "failed": 2},
    }


def test_how_late_the_reactor_is_is_measured(worker: Worker) -> None:
    worker.shown.start()
    worker.served.clock.advance(0.25)
    assert sum(worker.ask("figures")["lag"][1:]) == 1
    worker.shown.stop()
    what, figures = worker.bus.said.pop()
    assert what == "figures"
    assert sum(figures["lag"][1:]) == 1
    assert worker.served.clock.getDelayedCalls() == []


def test_connections_are_listed_in_the_order_of_their_ids(worker: Worker) -> None:
    worker.served.factory.ids = iter(["7", "3", "5"])
    for _ in range(3):
        worker.served.connect().open()
    said = worker.ask("list", limit=2, after=0)
    assert [each["id"] for each in said["connections"]] == ["3", "5"]
    assert (said["total"], said["next"]) == (3, "5")


def test_one_is_closed_by_its_id(worker: Worker) -> None:
    client = worker.served.connect().open()
    assert worker.ask("close", connection="1", code=4001, reason="bye") is True
    assert client.frames() == [(CLOSE, close_payload(4001, b"bye"))]
    assert worker.ask("close", connection="2", code=4001, reason="") is False


def test_one_is_sent_a_message_by_its_id(worker: Worker) -> None:
    worker.served.connect()
    client = worker.served.connect().open()
    message = {"data64": "aGk=", "binary": True}
    outcomes = [worker.ask("send", connection=each, **message) for each in ("1", "2", "3")]
    assert outcomes == ["opening", "handed", None]
    assert client.frames() == [(BINARY, b"hi")]
    client.close()
    assert worker.ask("send", connection="2", **message) == "closing"


def test_channels_and_who_is_on_one(worker: Worker) -> None:
    worker.served.factory.ids = iter(["7", "3", "5"])
    for path in ("/news", "/chat", "/news"):
        worker.served.connect().open(path)
    assert worker.ask("channels") == {"news": 2, "chat": 1}
    said = worker.ask("members", channel="news", limit=1, after=0)
    assert [each["id"] for each in said["connections"]] == ["5"]
    assert (said["total"], said["next"]) == (2, "5")


def test_it_says_what_it_does(worker: Worker) -> None:
    worker.served.connect().open("/news")
    worker.shown.start()
    worker.served.clock.advance(0.25)
    worker.served.clock.advance(1.25)
    assert worker.ask("doing") == {"connections": 1, "lag": 1.0}
    worker.shown.stop()


def test_it_says_how_far_one_is(worker: Worker) -> None:
    worker.served.connect()
    worker.served.connect().open()
    assert [worker.ask("look", connection=each) for each in ("1", "2", "3")] == [
        "opening",
        "open",
        None,
    ]


class TestTrace:
    def begin(self, worker: Worker, connection: str = "1") -> None:
        worker.shown.asked["trace"]({"trace": 9, "connection": connection})

    def test_its_events_are_said_as_they_happen_to_the_end(self, worker: Worker) -> None:
        client = worker.served.connect().open()
        self.begin(worker)
        assert worker.bus.said == [("traced", 9, ": connection 1\n\n")]
        client.text("watched")
        assert '"payload":"watched"' in worker.bus.said[1][2]
        client.close()
        client.lose()
        assert worker.bus.said[-2][2].startswith("event: closed\n")
        assert worker.bus.said[-1] == ("traced", 9, None)
        assert worker.shown._numbered == {}

    def test_of_one_that_is_gone_there_are_none(self, worker: Worker) -> None:
        self.begin(worker)
        assert worker.bus.said == [("traced", 9, None)]

    def test_a_slow_reader_is_waited_for_and_one_that_is_gone_is_not(self, worker: Worker) -> None:
        client = worker.served.connect().open()
        self.begin(worker)
        for to, count in (("pause", 1), ("resume", 3), ("stop", 3), ("pause", 3)):
            worker.shown.asked["flow"]({"trace": 9, "to": to})
            if to == "pause":
                client.text("watched")
            assert len(worker.bus.said) == count, to
        assert worker.shown._numbered == {}


def test_where_the_system_does_not_tell_memory_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("no")

    monkeypatch.setattr("builtins.open", fail)
    assert module._resident() == 0
