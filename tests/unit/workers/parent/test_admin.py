from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from wsservice.admin.exchange import AdminRequest, Answer, Stream
from wsservice.channels.history import History
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.channels.presence import Presence
from wsservice.config.config import Config
from wsservice.directory.tracing import MOST_TRACES
from wsservice.metrics import Counts, Histogram
from wsservice.workers.parent.admin import OverallAdmin
from wsservice.workers.parent.history import Keeping
from wsservice.workers.parent.people import OverallTrace
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.messages import Publication
from wsservice.workers.wire.orders import (
    BeginTrace,
    CloseConnection,
    CloseUser,
    SendTo,
    SendToUser,
    SteerTrace,
    TellChannels,
    TellConnections,
    TellFigures,
    TellMembers,
    TellPresence,
    TellState,
    TellUsers,
    UserCounts,
)

HERE = IPv4Address("TCP", "127.0.0.1", 8081)


def figures(received: int, held: int = 1) -> dict[str, Any]:
    """Those of a worker to which so many messages came."""
    counts = Counts()
    counts.accepted = counts.opened = held
    return {
        "counts": counts.state(),
        "traffic": [received, 0, 0, 0, 7],
        "held": held,
        "open": held,
        "channels": {"sizes": [[7, held]], "up_to": None},
        "publishing": Histogram().state(),
        "lag": Histogram().state(),
        "counters": {
            "slow_closed": 1,
            "bus_dropped": 3,
            "memory_messages": 2,
            "messages by user": 5,
        },
        "rate_waiting": 3,
        "memory_for_messages": {"message_memory": 10, "message_memory_max": 50},
        "cpu": 1.5,
        "memory": 1000,
    }


class Fake:
    """A worker with a connection, and its answers."""

    def __init__(self, number: int, connection: int) -> None:
        self.number = number
        self.connections = {connection: None}
        self.answers: dict[type[BusMessage], Any] = {}
        self.said: list[Any] = []
        self.bus = self

    def say(self, message: BusMessage) -> None:
        self.said.append(message)


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
        self.outcome = Published(0, 0)

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        self.published.append(message)
        return succeed(self.outcome)

    def serving(self) -> list[Fake]:
        return list(self.workers)

    ready_workers = serving

    def ask(self, workers: list[Fake], question: BusMessage) -> Deferred[list[Any]]:
        self.asked.append(question)
        return succeed([each.answers.get(type(question), Unanswered.LATE) for each in workers])


class Face:
    """The admin face over them."""

    def __init__(self, keeping: Keeping | None = None, **settings: Any) -> None:
        self.supervisor = Supervisor()
        self.supervisor.keeping = keeping
        self.workers = self.supervisor.workers
        self.reasons: list[str] = []
        config = Config(admin="tcp:8081:interface=127.0.0.1", max_connections=77, **settings)
        supervisor: Any = self.supervisor
        self.admin = OverallAdmin(
            config,
            MemoryReactorClock(),
            supervisor,
            [self._check],
            limited={"connects by address": 1},
        )

    def _check(self) -> str | None:
        return self.reasons[0] if self.reasons else None

    def ask(self, target: str, method: str = "GET", body: bytes = b"") -> Any:
        asked = AdminRequest(method, target, {"host": ("localhost",)}, body, HERE)
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
            worker.answers[TellFigures] = figures(number * 10, number)
        expected = {
            "connections": 3,
            "channels": 1,
            "channel_connections_max": 3,
            "connections_accepted_total": 3,
            'messages_total{direction="received"}': 30,
            "send_queue_octets": 14,
            'slow_clients_total{policy="close"}': 2,
            'slow_clients_total{policy="drop"}': 0,
            "message_memory_octets": 20,
            "message_memory_octets_max": 100,
            'memory_given_up_total{what="message"}': 4,
            "message_timeouts_total": 0,
            'limited_total{limit="messages by user"}': 10,
            'limited_total{limit="connects by address"}': 1,
            "rate_waiting_connections": 6,
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
            worker.answers[TellFigures] = figures(10)
        assert face.figure('messages_total{direction="received"}') == 20
        del face.workers[0].answers[TellFigures]
        assert face.figure('messages_total{direction="received"}') == 20
        assert face.figure("workers_silent") == 1

    def test_of_one_that_is_gone_what_counts_on(self, face: Face) -> None:
        for worker in face.workers:
            worker.answers[TellFigures] = figures(10)
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
            worker.answers[TellFigures] = {**figures(1), "webhook": webhook}
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
        keeping = Keeping(History(10, 0, 70_000), lambda: 5.0, lambda: 5.0)
        keeping.stamped(Publication("a", b"x"))
        face = Face(keeping)
        assert face.figure("history_messages") == face.figure("history_channels") == 1
        assert face.figure("history_octets_max") == 70_000
        assert b"history" not in Face().ask("/metrics").body

    def test_and_is_read_there(self) -> None:
        keeping = Keeping(History(10, 0, 70_000), lambda: 5.0, lambda: 5.0)
        for payload in (b"x", b"\xff"):
            keeping.stamped(Publication("a", payload, payload == b"\xff"))
        status, said = Face(keeping).say("/history/a")
        assert status == 200
        assert said["messages"] == [
            {"offset": 1, "time": 5.0, "data": "x"},
            {"offset": 2, "time": 5.0, "data64": "/w=="},
        ]
        status, said = Face(keeping).say(f"/history/a?limit=1&since=0&epoch={said['epoch']}")
        assert (said["offset"], said["next"]) == (1, 1)
        assert Face().say("/history/a")[0] == 404


class TestConnections:
    @pytest.fixture(autouse=True)
    def listed(self, face: Face) -> None:
        for worker, ids in zip(face.workers, (["1", "4"], ["2", "10"]), strict=True):
            found = [{"id": each} for each in ids]
            worker.answers[TellConnections] = {"total": 5, "connections": found, "next": None}

    def ids(self, face: Face, query: str = "") -> tuple[list[str], str | None]:
        _, said = face.say(f"/connections{query}")
        assert said["total"] == 10
        return [each["id"] for each in said["connections"]], said["next"]

    def test_those_of_all_are_one_list(self, face: Face) -> None:
        assert self.ids(face) == (["1", "2", "4", "10"], None)
        assert face.supervisor.asked == [TellConnections(100, 0)]

    def test_no_more_than_asked_for(self, face: Face) -> None:
        assert self.ids(face, "?limit=3") == (["1", "2", "4"], "4")
        face.workers[1].answers[TellConnections]["next"] = "10"
        assert self.ids(face, "?limit=4") == (["1", "2", "4", "10"], "10")

    def test_of_those_that_answer(self, face: Face) -> None:
        del face.workers[0].answers[TellConnections]
        _, said = face.say("/connections")
        assert [each["id"] for each in said["connections"]] == ["2", "10"]
        assert said["missing"] == ["worker 1"]

    def test_where_all_answer_nobody_is_missing(self, face: Face) -> None:
        assert face.say("/connections")[1]["missing"] == []

    def test_one_is_closed_where_it_is(self, face: Face) -> None:
        face.workers[1].answers[CloseConnection] = True
        assert face.say("/connections/12/close", "POST", b'{"code": 4001}')[0] == 202
        assert face.supervisor.asked == [CloseConnection("12", 4001, "")]
        face.workers[0].answers[CloseConnection] = False
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
            (
                "of a later build",
                502,
                {"error": "the outcome for connection 12 is not known here"},
            ),
        ],
    )
    def test_one_is_sent_a_message_where_it_is(
        self, face: Face, outcome: str | None, status: int, said: dict[str, Any]
    ) -> None:
        face.workers[1].answers[SendTo] = outcome
        assert face.say("/connections/12/send", "POST", b"hi") == (status, said)
        assert face.supervisor.asked == [SendTo("12", "aGk=", False)]

    @pytest.mark.parametrize(
        ("target", "method"), [("close", "POST"), ("send", "POST"), ("trace", "GET")]
    )
    @pytest.mark.parametrize("why", [Unanswered.LATE, Unanswered.GONE])
    def test_of_a_worker_that_does_not_answer_nobody_knows_whether_it_is_done(
        self, face: Face, target: str, method: str, why: Unanswered
    ) -> None:
        face.workers[1].answers = dict.fromkeys((CloseConnection, SendTo, TellState), why)
        status, said = face.say(f"/connections/12/{target}", method)
        assert status == 504
        assert said == {
            "error": f"worker 2 {why.value}: whether connection 12 was reached is not known"
        }

    def test_a_message_that_no_worker_takes_is_refused(self, face: Face) -> None:
        face.workers[1].answers[SendTo] = Unanswered.TOO_LONG
        assert face.say("/connections/12/send", "POST", b"x") == (
            413,
            {"error": "worker 2 takes no message that long: connection 12 was not reached"},
        )


def part(*more: str, **sizes: int) -> dict[str, Any]:
    """A part of a worker's channels, and of how many more it is one."""
    found = [{"channel": name, "connections": count} for name, count in sizes.items()]
    last = found[-1]["channel"] if more else None
    return {"total": len(sizes) + len(more), "channels": found, "next": last}


class TestChannels:
    def test_those_of_all_are_added_up(self, face: Face) -> None:
        face.workers[0].answers[TellChannels] = part(chat=1, news=2)
        face.workers[1].answers[TellChannels] = part(news=3)
        assert face.say("/channels") == (
            200,
            {
                "total": 2,
                "at_most": 2,
                "channels": [
                    {"channel": "chat", "connections": 1},
                    {"channel": "news", "connections": 5},
                ],
                "next": None,
                "missing": [],
            },
        )

    def test_of_many_a_part_is_asked_for_and_told(self, face: Face) -> None:
        face.workers[0].answers[TellChannels] = part("more", a=1, c=2)
        face.workers[1].answers[TellChannels] = part(b=3, d=4)
        _, said = face.say("/channels?limit=2&after=0")
        assert face.supervisor.asked == [TellChannels(2, "0")]
        assert [each["channel"] for each in said["channels"]] == ["a", "b"]
        assert (said["total"], said["at_most"], said["next"]) == (None, 5, "b")

    def test_without_the_answer_of_one_the_sums_say_so(self, face: Face) -> None:
        face.workers[1].answers[TellChannels] = part(news=3)
        _, said = face.say("/channels")
        assert (said["channels"], said["missing"]) == (
            [{"channel": "news", "connections": 3}],
            ["worker 1"],
        )
        face.workers[1].answers[TellMembers] = {"total": 1, "connections": [], "next": None}
        assert face.say("/channels/news")[1]["missing"] == ["worker 1"]

    def test_who_is_on_one_is_in_one_list(self, face: Face) -> None:
        for worker, id_ in zip(face.workers, ("9", "2"), strict=True):
            worker.answers[TellMembers] = {"total": 1, "connections": [{"id": id_}], "next": None}
        _, said = face.say("/channels/a%20b?limit=5")
        assert (said["channel"], said["total"]) == ("a b", 2)
        assert [each["id"] for each in said["connections"]] == ["2", "9"]
        assert face.supervisor.asked == [TellMembers("a b", 5, 0)]


class TestPublishing:
    def test_a_message_goes_to_all_and_what_came_of_it_is_said(self, face: Face) -> None:
        face.supervisor.outcome = Published(3, 1)
        assert face.say("/publish/news", "POST", b"hi") == (200, {"handed": 3, "dropped": 1})
        assert face.supervisor.published == [ChannelMessage("news", b"hi")]

    def test_where_a_worker_did_not_say_it_is_on_its_way(self, face: Face) -> None:
        face.supervisor.outcome = Published(3, 0, complete=False)
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
        face.workers[1].answers[TellState] = "open"
        return self.ask(face)

    def ask(self, face: Face) -> OverallTrace:
        answer = face.ask("/connections/12/trace")
        assert isinstance(answer, Stream)
        assert isinstance(answer.source, OverallTrace)
        return answer.source

    def test_events_of_the_worker_are_the_readers(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        worker = face.workers[1]
        assert worker.said == [BeginTrace(1, "12")]
        watcher = face.supervisor.watcher
        watcher.traced(1, "event: frame\n\n")
        watcher.traced(99, "of nobody")
        trace.pauseProducing()
        trace.resumeProducing()
        assert worker.said[1:] == [SteerTrace(1, "pause"), SteerTrace(1, "resume")]
        assert face.figure("traces") == 1
        watcher.traced(1, None)
        assert outlet.written == [b"event: frame\n\n"]
        assert outlet.ended == 1
        assert face.figure("traces") == 0

    def test_a_reader_that_goes_ends_it(self, face: Face, trace: OverallTrace) -> None:
        outlet = Outlet()
        trace.begin(outlet)
        trace.stopProducing()
        assert face.workers[1].said[-1] == SteerTrace(1, "stop")
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
        face.workers[0].answers[TellState] = state
        assert face.say("/connections/11/trace")[0] == status
        assert face.say("/connections/99/trace")[0] == 404

    def test_there_are_only_so_many(self, face: Face, trace: OverallTrace) -> None:
        for _ in range(MOST_TRACES - 1):
            self.ask(face)
        assert face.say("/connections/12/trace")[0] == 503


class TestUsers:
    def test_they_are_added_up(self) -> None:
        face = Face()
        for worker, users in zip(face.workers, ((("a", 1), ("b", 2)), (("b", 3),)), strict=True):
            rows = [{"id": id_, "connections": count} for id_, count in users]
            worker.answers[TellUsers] = {"total": len(rows), "users": rows, "next": None}
        assert face.say("/users") == (
            200,
            {
                "total": 2,
                "at_most": 2,
                "users": [{"id": "a", "connections": 1}, {"id": "b", "connections": 5}],
                "next": None,
                "missing": [],
            },
        )
        del face.workers[1].answers[TellUsers]
        assert face.say("/users")[1]["missing"] == ["worker 2"]

    def test_a_list_is_asked_for_by_user(self) -> None:
        face = Face()
        assert face.say("/connections?user=a%2Fb")[1]["missing"] == ["worker 1", "worker 2"]
        assert face.supervisor.asked == [TellConnections(100, 0, "a/b")]
        assert face.say("/users/a%2Fb?limit=7&after=3")[0] == 200
        assert face.supervisor.asked[1] == TellConnections(7, 3, "a/b")

    def test_a_message_and_a_close_go_to_all_workers(self) -> None:
        face = Face()
        one, other = face.workers
        for question in (SendToUser, CloseUser):
            one.answers[question] = UserCounts(2, 1)
            other.answers[question] = UserCounts(1, 0)
        assert face.say("/users/tom/send", "POST", b"hi") == (200, {"handed": 3, "dropped": 1})
        assert face.say("/users/tom/close", "POST") == (202, {"closing": 3})
        assert face.supervisor.asked == [
            SendToUser("tom", "aGk=", False),
            CloseUser("tom", 1000, ""),
        ]
        del other.answers[SendToUser]
        said = {"handed": 2, "dropped": 1, "missing": ["worker 2"]}
        assert face.say("/users/tom/send", "POST", b"hi") == (202, said)
        one.answers[SendToUser] = UserCounts(0, 0)
        assert face.say("/users/tom/send", "POST", b"hi")[0] == 504
        other.answers[SendToUser] = UserCounts(0, 0)
        assert face.say("/users/tom/send", "POST", b"hi")[0] == 404

    def test_presence_counts_users_over_workers(self) -> None:
        face = Face()
        for worker, marks in zip(face.workers, ((1, 5), (5, 9)), strict=True):
            worker.answers[TellPresence] = Presence("x", 3, (), (), len(marks), marks)
            worker.silence = 0  # type: ignore[attr-defined]
        found: list[Any] = []
        Deferred.fromCoroutine(face.admin.people.present("x")).addCallback(found.append)
        assert (found[0].count, found[0].users, found[0].marks) == (6, 3, (1, 5, 9))
