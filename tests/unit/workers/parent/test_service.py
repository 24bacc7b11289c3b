from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock

from wsservice import errors
from wsservice.channels.outcome import Published
from wsservice.config.config import Config
from wsservice.server.behaviours import ServerFactory
from wsservice.workers.parent import service as module
from wsservice.workers.parent.process import State
from wsservice.workers.parent.program import Program
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.parent.service import ParentService
from wsservice.workers.wire import passing
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.messages import Publication
from wsservice.workers.wire.orders import (
    CommitConfig,
    DrainWorker,
    PrepareConfig,
    ReopenLog,
    TellDoing,
    WorkerDoing,
)
from wsservice.workers.wire.records import JSON

from ....nodes import Broker, Engine
from ....support import Logged


class Fake:
    """A worker that does nothing by itself."""

    dropped = 0

    def __init__(self, number: int, program: Program, owner: Any) -> None:
        self.number = number
        self.program = program
        self.owner = owner
        self.state = State.STARTING
        self.room = 30
        self.silence = 0
        self.untaken: dict[int, None] = {}
        self.connections: dict[int, Any] = {}
        self.load = 0
        self.problem = ""
        self.did: list[Any] = []
        self.asked: list[Any] = []
        self.bus = self
        self.logs = 3

    def say(self, message: BusMessage) -> None:
        self.did.append(type(message))

    def hasten(self, message: BusMessage) -> None:
        self.say(message)

    def ask(self, question: BusMessage, answered: Any) -> None:
        self.asked.append((question, answered))

    def forget(self, request: int) -> None:
        pass

    def finish(self) -> None:
        self.did.append("finish")

    def finish_logs(self) -> bool:
        self.logs -= 1
        return not self.logs

    def signal(self, number: int) -> None:
        self.did.append(number)

    def take_back(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.did.append("close")

    def dies(self) -> None:
        self.state = State.OVER
        self.owner.ended(self, "ended with status 0")


class Listener:
    """A socket that listens."""

    family = socket.AF_INET

    def getsockname(self) -> Any:
        return ("0.0.0.0", 0)


class ListeningPort(Port):
    """A port that listens nowhere."""

    def __init__(self) -> None:
        super().__init__(0, None, reactor=Clock())  # type: ignore[arg-type]
        self.stopped: Deferred[None] = Deferred()
        self.socket = Listener()

    def stopListening(self) -> Deferred[None]:  # type: ignore[override]
        return self.stopped


class Run:
    """A parent on a reactor in memory, with one port."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.port: Any = ListeningPort()
        self.gave_up: list[str] = []
        self.made: list[Fake] = []
        monkeypatch.setattr(module, "listen", lambda named, factory: [self.port])
        monkeypatch.setattr(module, "Worker", self._make)
        self.service = ParentService(Config(**settings), self.reactor, 2, self.gave_up.append)

    def _make(self, *args: Any) -> Fake:
        self.made.append(Fake(*args))
        return self.made[-1]

    def run(self) -> None:
        """The reactor runs."""
        for hook, arguments, _ in self.reactor.whenRunningHooks:
            hook(*arguments)

    def start(self) -> Run:
        self.service.startService()
        self.run()
        for each in self.made:
            each.state = State.READY
            each.owner.ready(each)
        return self


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch).start()


class TestStart:
    def test_ports_are_taken_once_and_workers_started_when_the_reactor_runs(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        run = Run(monkeypatch)
        run.service.listen()
        run.service.privilegedStartService()
        run.service.startService()
        assert run.service.ports == [run.port]
        assert run.made == []
        run.run()
        assert [each.number for each in run.made] == [1, 2]
        assert "messages are read by the " in logged.text

    def test_a_worker_is_told_all_it_needs(self, run: Run) -> None:
        start = run.made[0].program.start
        assert Config(**start.config) == Config()
        assert start.folder == start.folder_now == os.getcwd()
        assert list(start.path) == sys.path
        assert start.places == ((int(socket.AF_INET), ("0.0.0.0", 0)),)
        assert start.log == JSON
        assert start.messages == "log"
        assert run.made[0].program.ports == 1

    def test_it_says_how_many_connections_there_is_room_for(
        self, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        Run(monkeypatch, max_connections=60).start()
        assert "[wsservice#info] up to 60 connections, in 2 workers" in logged.text
        assert "does not fit" not in logged.text
        Run(monkeypatch, max_connections=61).start()
        assert "--max-connections 61 does not fit: the open files of 2 workers" in logged.text
        Run(monkeypatch, max_connections=0).start()
        assert logged.text.count("up to 60 connections") == 3

    def test_one_that_is_stopped_before_the_reactor_runs_starts_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch)
        run.service.startService()
        run.service.stopService()
        run.run()
        assert run.made == []

    def test_with_too_few_files_the_ports_are_given_back_and_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch)
        monkeypatch.setattr(module, "in_use", lambda: 9)
        monkeypatch.setattr(module, "limit_for", lambda _: 49)
        stopped: list[bool] = []
        monkeypatch.setattr(run.port, "stopListening", lambda: stopped.append(True))
        with pytest.raises(
            errors.ListenError,
            match="--workers: 2 need 50 open files in their parent, and the limit is 49",
        ):
            run.service.listen()
        assert stopped == [True]
        assert run.service.ports is None
        monkeypatch.setattr(module, "limit_for", lambda _: 50)
        run.service.listen()
        assert run.service.ports == [run.port]

    def test_a_port_that_is_none_of_twisteds_cannot_be_shared(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch)

        class Other:
            stopped = False

            def stopListening(self) -> None:
                self.stopped = True

        run.port = Other()
        with pytest.raises(errors.ListenError, match="cannot be shared by workers"):
            run.service.listen()
        assert run.port.stopped

    def test_what_cannot_be_is_said_when_it_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for wrong in ({"listen": ("nonsense",)}, {"message_log": "/no/such/folder/x"}):
            with pytest.raises(errors.WSServiceError):
                Run(monkeypatch, **wrong)
        monkeypatch.setattr(passing, "possible", lambda: False)
        with pytest.raises(errors.ConfigError, match="--workers: 2 is not allowed: this system"):
            Run(monkeypatch)

    @pytest.mark.parametrize(("listen", "known"), [(("tcp:1",), True), (("haproxy:tcp:1",), False)])
    def test_addresses_are_counted_here_unless_a_balancer_is_in_front(
        self, monkeypatch: pytest.MonkeyPatch, listen: tuple[str, ...], known: bool
    ) -> None:
        run = Run(monkeypatch, listen=listen, max_connections_per_ip=3)
        assert run.service.limits._most_per_address == (3 if known else 0)
        assert run.service.sharing._peers_come_later is not known


class TestHistory:
    def test_it_is_one_for_all_workers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, history="7,60", history_bytes=65536).start()
        keeping = run.service.supervisor.keeping
        assert keeping is not None
        assert keeping.history.most_octets == 65536
        before = run.reactor.seconds()
        stamped = keeping.stamped(Publication("a", b"x"))
        assert stamped is not None
        assert stamped.stamp is not None
        assert stamped.stamp.time == before

    def test_without_the_option_there_is_none(self, run: Run) -> None:
        assert run.service.supervisor.keeping is None


class TestMessageLog:
    def way(self, run: Run) -> str:
        return str(run.service._way)

    def test_to_a_file_workers_write_by_themselves(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "messages"
        assert self.way(Run(monkeypatch, message_log=str(path))) == "file"
        assert path.read_bytes() == b""

    def test_to_what_is_no_file_the_parent_does(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reading:
            run = Run(monkeypatch, message_log=str(path)).start()
            assert self.way(run) == "records"
            run.made[0].program.copy_messages(b"2026 one\n")
            run.service.reopen()
            run.service.finish()
            assert reading.read() == b"2026 one\n"
        assert self.way(Run(monkeypatch, message_log="/dev/null")) == "records"
        assert self.way(Run(monkeypatch, message_log="-")) == "records"


class TestOperator:
    def test_what_all_are_told(self, run: Run) -> None:
        run.service.reopen()
        assert [each.did for each in run.made] == [[ReopenLog]] * 2
        run.service.roll()
        assert len(run.made) == 3

    def test_at_once_means_but_for_what_they_have_to_log(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        run.service.finish()
        assert [each.did for each in run.made] == [["finish", 9]] * 2
        assert [each.logs for each in run.made] == [0, 0]

    def test_and_that_is_not_waited_for_long(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        times = iter(range(100))
        monkeypatch.setattr(time, "sleep", lambda _: None)
        monkeypatch.setattr(time, "monotonic", lambda: next(times) / 2)
        run.made[0].logs = 99
        run.service.finish()
        assert [each.did for each in run.made] == [["finish", 9]] * 2


class TestReload:
    def test_workers_are_asked_before_anything_changes(self, run: Run) -> None:
        new = Config(
            drain=7, max_connections=5, max_connections_per_ip=2, trust_proxy=("127.0.0.1",)
        )
        outcome: list[str] = []
        run.service.ask(new).addCallback(outcome.append)
        (question, answered), (_, other) = (each.asked[0] for each in run.made)
        assert question == PrepareConfig(attrs.asdict(new), request=1)
        answered("")
        other("--tls-cert: no")
        assert outcome == ["--tls-cert: no"]
        commit = run.service.prepare(new)
        assert run.service.supervisor.drain == 10
        commit()
        assert [each.did for each in run.made] == [[CommitConfig]] * 2
        assert run.service.supervisor.drain == 7
        assert run.service.limits._most == 5
        assert run.service.limits._most_per_address == 2
        assert run.service.sharing.trusted.trusts("127.0.0.1")
        run.service.roll()
        assert run.made[-1].program.start.config["drain"] == 7

    def test_no_answer_is_an_objection(self, run: Run) -> None:
        outcome: list[str] = []
        run.service.ask(Config()).addCallback(outcome.append)
        run.made[0].asked[0][1]("")
        run.reactor.advance(4.9)
        assert outcome == []
        run.reactor.advance(0.1)
        assert outcome == [f"{run.made[1]} did not answer within 5 s"]

    def test_a_worker_that_is_gone_objects_to_nothing(self, run: Run) -> None:
        outcome: list[str] = []
        run.service.ask(Config()).addCallback(outcome.append)
        run.made[0].asked[0][1]("")
        for each in run.made[1:]:
            each.asked[0][1](Unanswered.GONE)
        assert outcome == [""]

    def test_it_waits_for_the_ports_and_then_for_the_workers(self, run: Run) -> None:
        stopped: list[Any] = []
        run.service.stopService().addCallback(stopped.append)
        assert [each.did for each in run.made] == [[], []]
        run.port.stopped.callback(None)
        assert [each.did for each in run.made] == [[DrainWorker]] * 2
        for each in run.made:
            assert stopped == []
            each.dies()
        assert stopped == [None]
        assert not run.service.running

    def test_with_health_checks_the_ports_go_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(monkeypatch, health_path="/health").start()
        stopping: list[Any] = []
        monkeypatch.setattr(run.port, "stopListening", lambda: stopping.append(None))
        stopped: list[Any] = []
        run.service.stopService().addCallback(stopped.append)
        assert [each.did for each in run.made] == [[DrainWorker]] * 2
        for each in run.made:
            # Connections that come are still for the workers.
            assert run.service.sharing.is_open
            assert (stopping, stopped) == ([], [])
            each.dies()
        assert not run.service.sharing.is_open
        assert (stopping, stopped) == ([None], [None])

    def test_what_is_to_be_written_is(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reading:
            run = Run(monkeypatch, message_log=str(path)).start()
            run.service.stopService()
            run.port.stopped.callback(None)
            run.made[0].program.copy_messages(b"last words\n")
            for each in run.made:
                each.dies()
            assert reading.read() == b"last words\n"


def test_the_factory_of_its_ports_makes_nothing() -> None:
    assert not module.PortFactory.noisy


def test_its_ports_are_logged_under_the_name_that_they_have_without_workers() -> None:
    assert module.PortFactory().logPrefix() == ServerFactory.__name__


class TestCluster:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> Engine:
        engine = Engine(Broker(), "a")
        monkeypatch.setattr(module, "open_engine", lambda *_: engine)
        return engine

    @pytest.mark.parametrize("admin", ["", "unix:/admin.sock"])
    def test_with_all_its_workers_it_is_one_node(
        self, monkeypatch: pytest.MonkeyPatch, engine: Engine, admin: str
    ) -> None:
        run = Run(monkeypatch, broker="redis://broker.example", admin=admin).start()
        for worker in run.made:
            worker.state = State.READY
        run.reactor.advance(3)
        for worker in run.made:
            question, answered = worker.asked[-1]
            assert isinstance(question, TellDoing)
            answered(WorkerDoing(worker.number, 0.5))
        (said,) = engine.broker.keys.values()
        facts = json.loads(said[0])
        assert (facts["workers"], facts["connections"], facts["lag"]) == (2, 3, 0.5)
        stopped: list[Any] = []
        run.service.stopService().addBoth(stopped.append)
        run.port.stopped.callback(None)
        for worker in run.made:
            worker.dies()
        assert stopped == [None]
        assert engine.broker.index == set()
        assert engine.did == ["start", "stop"]

    def test_its_face_shows_all_nodes(
        self, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        run = Run(monkeypatch, broker="redis://broker.example", admin="unix:/admin.sock")
        admin, cluster = run.service.admin, run.service.cluster
        assert admin is not None
        assert cluster is not None
        assert admin._routes._people is cluster.people
        assert cluster._home.people is admin.people


class TestMeeting:
    def test_with_a_broker_workers_are_nodes_and_the_history_is_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(monkeypatch, broker="redis://127.0.0.1:1", history="10", broker_buffer=1)
        meeting = run.service.meeting
        assert meeting is not None
        assert meeting.has_history
        assert run.service.supervisor.keeping is None
        assert meeting in run.service.parts
        assert meeting.check in run.service.checks
        monkeypatch.setattr(meeting, "deliver", lambda *_: succeed(Published(0, 0, False, 3)))
        assert run.service.publish("a", b"x").result == Published(0, 0, False, 3)
        monkeypatch.setattr(meeting, "deliver", lambda *_: succeed(Published(0, 0, False, None)))
        assert run.service.publish("a", b"x").result == Published(0, 0, False, None)

    def test_without_one_there_is_none(self, run: Run) -> None:
        assert run.service.meeting is None

    def test_what_is_not_allowed_is_published_nowhere(self, run: Run) -> None:
        with pytest.raises(ValueError, match="give one of at most 255"):
            run.service.publish("a" * 256, b"x")
        with pytest.raises(TypeError, match="a payload is bytes"):
            run.service.publish("a", "x")  # type: ignore[arg-type]
