from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from wsservice.admin.exchange import Answer, Asked
from wsservice.admin.tracing import MOST_TRACES
from wsservice.config import Config
from wsservice.counting import Counts, Histogram
from wsservice.history import History
from wsservice.workers.keeping import Keeping
from wsservice.workers.messages import Publication
from wsservice.workers.overall import OverallAdmin, OverallTrace
from wsservice.workers.supervisor import Published

HERE = IPv4Address("TCP", "127.0.0.1", 8081)


def figures(received: int, held: int = 1) -> dict[str, Any]:
    """Those of a worker to which so many messages came."""
    counts = Counts()
    counts.accepted = counts.opened = held
    return {
        "counts": counts.state(),
        "traffic": [received, 0, 0, 0, 7],
        "held": held,
        "channels": {"news": held},
        "publishing": Histogram().state(),
        "lag": Histogram().state(),
        "counters": {"slow_closed": 1, "bus_dropped": 3},
        "cpu": 1.5,
        "memory": 1000,
    }


class Fake:
    """A worker with a connection, and its answers."""

    def __init__(self, number: int, connection: int) -> None:
        self.number = number
        self.connections = {connection: None}
        self.answers: dict[str, Any] = {}
        self.said: list[Any] = []
        self.bus = self

    def say(self, what: str, **members: Any) -> None:
        self.said.append((what, *members.values()))


class Slot:
    """The place of a worker."""

    def __init__(self, worker: Fake) -> None:
        self.number = worker.number
        self.current = worker


class Supervisor:
    """Two workers."""

    lost = 4
    dropped = 5
    keeping: Keeping | None = None
    watcher: Any = None

    def __init__(self) -> None:
        self.workers = [Fake(1, 11), Fake(2, 12)]
        self.slots = [Slot(each) for each in self.workers]
        self.asked: list[Any] = []
        self.published: list[Any] = []
        self.outcome = Published(0, 0, 0)

    def publish(self, channel: str, payload: bytes, isBinary: bool) -> Deferred[Published]:
        self.published.append((channel, payload, isBinary))
        return succeed(self.outcome)

    def serving(self) -> list[Fake]:
        return list(self.workers)

    ready_workers = serving

    def ask(self, workers: list[Fake], what: str, **members: Any) -> Deferred[list[Any]]:
        self.asked.append((what, members))
        return succeed([each.answers.get(what) for each in workers])


class Face:
    """The admin face over them."""

    def __init__(self, keeping: Keeping | None = None, **settings: Any) -> None:
        self.supervisor = Supervisor()
        self.supervisor.keeping = keeping
        self.workers = self.supervisor.workers
        self.reasons: list[str] = []
        config = Config(admin="tcp:8081:interface=127.0.0.1", max_connections=77, **settings)
        supervisor: Any = self.supervisor
        self.admin = OverallAdmin(config, MemoryReactorClock(), supervisor, [self._check])

    def _check(self) -> str | None:
        return self.reasons[0] if self.reasons else None

    def ask(self, target: str, method: str = "GET", body: bytes = b"") -> Any:
        asked = Asked(method, target, {"host": ("localhost",)}, body, HERE)
        outcome: list[Any] = []
        answer = self.admin._routes.respond(asked)
        Deferred.fromCoroutine(answer).addCallback(outcome.append)
        return outcome[0]

    def say(self, target: str, method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
        answer = self.ask(target, method, body)
        assert isinstance(answer, Answer)
        return answer.status, json.loads(answer.body)

    def figure(self, name: str) -> float:
        text = self.ask("/metrics").body.decode()
        found = re.search(rf"^wsservice_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, name
        return float(found[1])


@pytest.fixture
def face() -> Face:
    return Face()


class TestFigures:
    def test_they_are_those_of_all(self, face: Face) -> None:
        for number, worker in enumerate(face.workers, 1):
            worker.answers["figures"] = figures(number * 10, number)
        expected = {
            "connections": 3,
            "channels": 1,
            "channel_connections_max": 3,
            "connections_accepted_total": 3,
            'messages_total{direction="received"}': 30,
            "send_queue_octets": 14,
            'slow_clients_total{policy="close"}': 2,
            'slow_clients_total{policy="drop"}': 0,
            "workers": 2,
            "workers_silent": 0,
            "workers_lost_total": 4,
            "publications_dropped_total": 11,
            'worker_cpu_seconds_total{worker="2"}': 1.5,
            'worker_resident_memory_bytes{worker="1"}': 1000,
            "max_connections": 77,
            "ready": 1,
            "traces": 0,
            "publish_seconds_count": 0,
        }
        assert {name: face.figure(name) for name in expected} == expected

    def test_of_one_that_does_not_answer_what_was_known_last(self, face: Face) -> None:
        for worker in face.workers:
            worker.answers["figures"] = figures(10)
        assert face.figure('messages_total{direction="received"}') == 20
        del face.workers[0].answers["figures"]
        assert face.figure('messages_total{direction="received"}') == 20
        assert face.figure("workers_silent") == 1

    def test_of_one_that_is_gone_what_counts_on(self, face: Face) -> None:
        for worker in face.workers:
            worker.answers["figures"] = figures(10)
        face.figure("ready")
        gone = face.workers.pop()
        watcher = face.supervisor.watcher
        watcher.figures_of(gone, figures(15))
        watcher.lost(gone)
        watcher.lost(gone)
        assert face.figure('messages_total{direction="received"}') == 25
        assert face.figure("connections") == 1
        assert face.figure("send_queue_octets") == 7
        assert face.figure("connections_opened_total") == 2

    def test_before_any_has_answered_there_are_none(self, face: Face) -> None:
        face.reasons = ["starting"]
        assert face.figure("connections") == 0
        assert face.figure("ready") == 0
        assert face.say("/readyz") == (503, {"ready": False, "reasons": ["starting"]})

    def test_another_limit_is_shown_once_it_holds(self, face: Face) -> None:
        commit = face.admin.prepare(Config(admin="tcp:8081", max_connections=5))
        assert face.figure("max_connections") == 77
        assert commit() == []
        assert face.figure("max_connections") == 5

    def test_webhooks_are_shown_as_one(self) -> None:
        face = Face(webhook="http://h/", webhook_secret_file="s")
        for worker in face.workers:
            webhook = {"delivered": 3, "dropped": 2, "waiting": 1, "attempts": {"failed": 4}}
            worker.answers["figures"] = {**figures(1), "webhook": webhook}
        expected = {
            'webhook_events_total{outcome="delivered"}': 6,
            'webhook_events_total{outcome="dropped"}': 4,
            'webhook_attempts_total{outcome="failed"}': 8,
            'webhook_attempts_total{outcome="taken"}': 0,
            "webhook_waiting": 2,
        }
        assert {name: face.figure(name) for name in expected} == expected
        gone = face.workers.pop()
        face.supervisor.watcher.lost(gone)
        expected["webhook_waiting"] = 1
        assert {name: face.figure(name) for name in expected} == expected

    def test_before_a_webhook_was_told_anything_its_figures_are_there(self) -> None:
        face = Face(webhook="http://h/", webhook_secret_file="s")
        assert face.figure('webhook_attempts_total{outcome="failed"}') == 0
        assert face.figure("webhook_waiting") == 0
        assert b"webhook" not in Face().ask("/metrics").body

    def test_the_history_is_the_parents(self) -> None:
        keeping = Keeping(History(10, 0, 70_000), lambda: 5.0)
        keeping.stamped(Publication("a", b"x"))
        face = Face(keeping)
        assert face.figure("history_messages") == face.figure("history_channels") == 1
        assert face.figure("history_octets_max") == 70_000
        assert b"history" not in Face().ask("/metrics").body


class TestConnections:
    @pytest.fixture(autouse=True)
    def listed(self, face: Face) -> None:
        for worker, ids in zip(face.workers, (["1", "4"], ["2", "10"]), strict=True):
            found = [{"id": each} for each in ids]
            worker.answers["list"] = {"total": 5, "connections": found, "next": None}

    def ids(self, face: Face, query: str = "") -> tuple[list[str], str | None]:
        _, said = face.say(f"/connections{query}")
        assert said["total"] == 10
        return [each["id"] for each in said["connections"]], said["next"]

    def test_those_of_all_are_one_list(self, face: Face) -> None:
        assert self.ids(face) == (["1", "2", "4", "10"], None)
        assert face.supervisor.asked == [("list", {"limit": 100, "after": 0})]

    def test_no_more_than_asked_for(self, face: Face) -> None:
        assert self.ids(face, "?limit=3") == (["1", "2", "4"], "4")
        face.workers[1].answers["list"]["next"] = "10"
        assert self.ids(face, "?limit=4") == (["1", "2", "4", "10"], "10")

    def test_of_those_that_answer(self, face: Face) -> None:
        del face.workers[0].answers["list"]
        _, said = face.say("/connections")
        assert [each["id"] for each in said["connections"]] == ["2", "10"]

    def test_one_is_closed_where_it_is(self, face: Face) -> None:
        face.workers[1].answers["close"] = True
        assert face.say("/connections/12/close", "POST", b'{"code": 4001}')[0] == 202
        asked = {"connection": "12", "code": 4001, "reason": ""}
        assert face.supervisor.asked == [("close", asked)]
        assert face.say("/connections/11/close", "POST")[0] == 404
        assert face.say("/connections/13/close", "POST")[0] == 404
        assert face.say("/connections/a.12/close", "POST")[0] == 404

    @pytest.mark.parametrize(
        ("outcome", "status", "said"),
        [
            ("handed", 200, {"handed": 1, "dropped": 0}),
            ("dropped", 200, {"handed": 0, "dropped": 1}),
            ("opening", 409, {"error": "connection 12 is not open yet"}),
            ("closing", 409, {"error": "connection 12 is closing"}),
            (None, 404, {"error": "there is no connection 12"}),
        ],
    )
    def test_one_is_sent_a_message_where_it_is(
        self, face: Face, outcome: str | None, status: int, said: dict[str, Any]
    ) -> None:
        face.workers[1].answers["send"] = outcome
        assert face.say("/connections/12/send", "POST", b"hi") == (status, said)
        asked = {"connection": "12", "data64": "aGk=", "binary": False}
        assert face.supervisor.asked == [("send", asked)]


class TestChannels:
    def test_those_of_all_are_added_up(self, face: Face) -> None:
        face.workers[0].answers["channels"] = {"news": 2, "chat": 1}
        face.workers[1].answers["channels"] = {"news": 3}
        assert face.say("/channels") == (
            200,
            {
                "total": 2,
                "channels": [
                    {"channel": "chat", "connections": 1},
                    {"channel": "news", "connections": 5},
                ],
                "next": None,
            },
        )

    def test_who_is_on_one_is_in_one_list(self, face: Face) -> None:
        for worker, id_ in zip(face.workers, ("9", "2"), strict=True):
            worker.answers["members"] = {"total": 1, "connections": [{"id": id_}], "next": None}
        _, said = face.say("/channels/a%20b?limit=5")
        assert (said["channel"], said["total"]) == ("a b", 2)
        assert [each["id"] for each in said["connections"]] == ["2", "9"]
        assert face.supervisor.asked == [("members", {"limit": 5, "after": 0, "channel": "a b"})]


class TestPublishing:
    def test_a_message_goes_to_all_and_what_came_of_it_is_said(self, face: Face) -> None:
        face.supervisor.outcome = Published(3, 1, 0)
        assert face.say("/publish/news", "POST", b"hi") == (200, {"handed": 3, "dropped": 1})
        assert face.supervisor.published == [("news", b"hi", False)]

    def test_where_a_worker_did_not_say_it_is_on_its_way(self, face: Face) -> None:
        face.supervisor.outcome = Published(3, 0, 1)
        line = b'{"channel": "news", "data": "hi"}\n'
        status, said = face.say("/publish", "POST", line + line)
        assert (status, said) == (202, {"messages": 2, "handed": 6, "dropped": 0})


class Outlet:
    """The reader of a trace."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ended = 0

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    def end(self) -> None:
        self.ended += 1

    def abort(self) -> None:
        raise AssertionError


class TestTrace:
    @pytest.fixture
    def trace(self, face: Face) -> OverallTrace:
        face.workers[1].answers["look"] = "open"
        trace = face.ask("/connections/12/trace")
        assert isinstance(trace, OverallTrace)
        return trace

    def test_events_of_the_worker_are_the_readers(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        worker = face.workers[1]
        assert worker.said == [("trace", 1, "12")]
        watcher = face.supervisor.watcher
        watcher.traced(1, "event: frame\n\n")
        watcher.traced(99, "of nobody")
        trace.pauseProducing()
        trace.resumeProducing()
        assert worker.said[1:] == [("flow", 1, "pause"), ("flow", 1, "resume")]
        assert face.figure("traces") == 1
        watcher.traced(1, None)
        assert outlet.written == [b"event: frame\n\n"]
        assert outlet.ended == 1
        assert face.figure("traces") == 0

    def test_a_reader_that_goes_ends_it(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        trace.stopProducing()
        assert face.workers[1].said[-1] == ("flow", 1, "stop")
        trace.heard("late")
        assert outlet.written == []
        assert face.figure("traces") == 0

    def test_a_worker_that_goes_ends_its_own(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        watcher = face.supervisor.watcher
        watcher.lost(face.workers[0])
        assert outlet.ended == 0
        watcher.lost(face.workers[1])
        assert outlet.ended == 1

    def test_the_end_of_the_face_ends_all(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        face.admin.stop()
        assert outlet.ended == 1

    @pytest.mark.parametrize(("state", "status"), [(None, 404), ("opening", 409)])
    def test_one_that_is_not_open_has_none(self, face: Face, state: str, status: int) -> None:
        face.workers[0].answers["look"] = state
        assert face.say("/connections/11/trace")[0] == status
        assert face.say("/connections/99/trace")[0] == 404

    def test_there_are_only_so_many(self, face: Face, trace: OverallTrace) -> None:
        for _ in range(MOST_TRACES - 1):
            assert isinstance(face.ask("/connections/12/trace"), OverallTrace)
        assert face.say("/connections/12/trace")[0] == 503
