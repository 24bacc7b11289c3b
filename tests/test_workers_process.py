from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wsservice.policy import Admission, Verdict
from wsservice.workers.messages import FIRST, Publication, framed, said
from wsservice.workers.passing import Handing, take
from wsservice.workers.process import Owner, Program, State, Worker

from .support import Logged

STATUS_1 = ProcessTerminated(1, None, 256)


class Process:
    """What spawnProcess makes."""

    pid = 77

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class Reactor(Clock):
    """A reactor that starts nothing, but keeps what a process would have been given."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.spawned: list[Any] = []
        self.ends: dict[int, socket.socket] = {}
        self.error: OSError | None = None
        self.adopted: list[Any] = []

    def spawnProcess(
        self, protocol: Any, executable: str, args: Any, env: Any, childFDs: Any
    ) -> Any:
        if self.error is not None:
            raise self.error
        self.spawned.append((executable, args, env, childFDs))
        for number, descriptor in childFDs.items():
            if number >= FIRST:
                self.ends[number] = socket.socket(fileno=os.dup(descriptor))
        process = Process()
        protocol.makeConnection(process)
        return process

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        self.adopted.append(factory.buildProtocol(None))

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class Told(Owner):
    """Who keeps what is told of a worker."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def ready(self, worker: Worker) -> None:
        self.heard.append("ready")

    def failed(self, worker: Worker, problem: str) -> None:
        self.heard.append(problem)

    def asks_to_leave(self, worker: Worker) -> None:
        self.heard.append("leaving")

    def ended(self, worker: Worker, how: str) -> None:
        self.heard.append(how)

    def counted(self, worker: Worker, left: Any) -> None:
        self.heard.append(list(left))

    def published(self, worker: Worker, body: bytes) -> None:
        self.heard.append(body)

    def asked(self, worker: Worker, message: Any) -> None:
        self.heard.append((message["channel"], message["since"]))

    def came_and_left(self, worker: Worker, came: Any, left: Any) -> None:
        self.heard.append((came, left))


class Run:
    """A worker, as its parent sees it, and its side."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.owner = Told()
        self.log: list[bytes] = []
        self.messages: list[bytes] = []
        self.program = Program(
            {"config": {}}, 2, self.log.append, self.messages.append, self.reactor
        )
        self.worker = Worker(3, self.program, self.owner)

    def says(self, what: str, **members: Any) -> None:
        self.worker.bus.dataReceived(framed(said(what, **members)))

    def hand(self, port: int, number: int) -> Admission:
        one, two = socket.socketpair()
        admission = Admission(Verdict.ADMITTED)
        with one, two:
            assert self.worker.hand(port, one, Handing(number, Verdict.ADMITTED, ""))
        self.worker.took(number, admission)
        return admission

    def ends_logs(self) -> None:
        """The other ends of its logs are closed."""
        for number in (FIRST + 1, FIRST + 2):
            self.reactor.ends[number].close()
        for reader in list(self.reactor.readers):
            reader.connectionLost(Failure(reader.doRead()))

    def close(self) -> None:
        self.worker.close()
        for end in self.reactor.ends.values():
            end.close()


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.close()


class TestBegin:
    def test_it_is_this_python_with_the_modules_of_this_service(self, run: Run) -> None:
        ((executable, args, env, descriptors),) = run.reactor.spawned
        assert executable == sys.executable
        module = Reactor.__module__
        assert args == [sys.executable, "-P", "-m", "wsservice.worker", "3", "2", module]
        assert env is None
        assert sorted(descriptors) == [0, 1, 2, *range(FIRST, FIRST + 5)]
        assert str(run.worker) == "worker 3 (pid 77)"
        assert run.worker.bus.other == "worker 3 (pid 77)"
        assert run.reactor.adopted == [run.worker.bus]

    def test_its_ends_are_its_own(self, run: Run) -> None:
        # Else the end of a process would never be told.
        run.ends_logs()
        assert run.reactor.readers == []

    def test_one_that_cannot_be_started_leaves_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = OSError(11, "no")
        monkeypatch.setattr(Reactor, "spawnProcess", lambda *_, **__: _raise(error))
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(OSError, match="no"):
            Run()
        assert len(os.listdir("/dev/fd")) == before


def _raise(error: Exception) -> None:
    raise error


class TestBus:
    def test_it_serves_once_it_says_so(self, run: Run) -> None:
        run.says("ready", room=500)
        assert run.worker.state is State.READY
        assert run.worker.room == 500
        run.says("ready", room=400)
        assert run.owner.heard == ["ready"]

    def test_what_it_says_of_its_connections(self, run: Run) -> None:
        admissions = [run.hand(0, number) for number in (1, 2)]
        assert run.worker.load == 2
        run.worker.silence = 3
        run.says("counts", taken=[1], left=[])
        assert list(run.worker.untaken) == [2]
        assert run.worker.silence == 0
        run.says("counts", taken=[2], left=[1, 2, 99])
        assert run.owner.heard == [[], admissions]
        assert run.worker.load == 0

    def test_what_else_it_says(self, run: Run) -> None:
        run.worker.silence = 3
        run.says("pong")
        assert run.worker.silence == 0
        run.says("leaving")
        run.says("failed", problem="no\x1b luck")
        body = Publication("a", b"x").body()
        run.worker.bus.dataReceived(framed(body))
        run.says("channels", came=["a"], left=["b"])
        run.says("ask", request=1, channel="a", since=None)
        assert run.owner.heard == [
            *("leaving", "no\\x1b luck", body),
            *((["a"], ["b"]), ("a", None)),
        ]

    @pytest.mark.parametrize(
        "message",
        [
            said("nonsense"),
            said("ready"),
            said("ready", room="many"),
            said("counts", taken=1),
            said("ask", request=1),
            said("channels", came=["a"]),
            b"x",
        ],
    )
    def test_what_nobody_says_ends_it(self, run: Run, message: bytes, logged: Logged) -> None:
        class Transport:
            aborted = False

            def abortConnection(self) -> None:
                self.aborted = True

        run.worker.bus.transport = Transport()
        run.worker.bus.dataReceived(framed(message))
        assert run.worker.bus.transport.aborted
        assert "what came on the bus is no message" in logged.text

    def test_questions_are_answered(self, run: Run) -> None:
        answers: list[Any] = []
        run.worker.ask(1, answers.append, "figures")
        assert run.worker.ask_body(2, answers.append, Publication("a", b"x", False, 2).body())
        run.worker.ask(3, answers.append, "figures")
        run.worker.forget(3)
        run.says("answer", request=2, answer={"handed": 5})
        run.says("answer", request=3, answer="late")
        assert answers == [{"handed": 5}]
        run.worker.bus.connectionLost()
        assert answers == [{"handed": 5}, None]

    def test_one_that_speaks_no_more_is_ended(self, run: Run) -> None:
        run.worker.bus.connectionLost()
        process: Any = run.worker.transport
        assert process.signals == []
        run.reactor.advance(1)
        assert process.signals == [signal.SIGKILL]


class TestConnections:
    def test_they_are_handed_by_the_pair_of_their_port(self, run: Run) -> None:
        run.hand(1, 7)
        taken = take(run.reactor.ends[FIRST + 4])
        assert taken is not None
        assert taken[0] is not None
        taken[0].close()
        assert taken[1].number == 7

    def test_what_it_did_not_take_is_taken_back(self, run: Run) -> None:
        admissions = [run.hand(0, 1), run.hand(1, 2)]
        run.says("counts", taken=[], left=[])
        found = run.worker.take_back()
        assert [(port, handing.number, admission) for port, _, handing, admission in found] == [
            (0, 1, admissions[0]),
            (1, 2, admissions[1]),
        ]
        for _, connection, _, _ in found:
            connection.close()
        assert run.worker.load == 0
        assert run.worker.take_back() == []

    def test_to_one_that_is_gone_nothing_is_handed(self, run: Run) -> None:
        run.worker.close()
        one, two = socket.socketpair()
        with one, two:
            assert not run.worker.hand(0, one, Handing(1, Verdict.ADMITTED, ""))


class TestEnd:
    @pytest.mark.parametrize(
        ("reason", "how"),
        [
            (ProcessDone(0), "ended with status 0"),
            (STATUS_1, "ended with status 1"),
            (ProcessTerminated(None, signal.SIGKILL, 9), "was ended by SIGKILL"),
            (ProcessTerminated(None, 99, 99), "was ended by signal 99"),
        ],
    )
    def test_how_it_ended_is_told_once_its_log_was_read(
        self, run: Run, reason: Any, how: str
    ) -> None:
        run.reactor.ends[FIRST + 1].send(b"last line\n")
        run.worker.processExited(Failure(reason))
        run.worker.processEnded(Failure(reason))
        assert run.owner.heard == []
        run.ends_logs()
        assert run.owner.heard == [how]
        assert run.log == [b"last line\n"]
        assert run.worker.state is State.OVER
        run.worker.signal(signal.SIGKILL)
        process: Any = run.worker.transport
        assert process.signals == []

    def test_its_last_words_are_told_too(self, run: Run, logged: Logged) -> None:
        run.worker.childDataReceived(2, b"Traceback\n  wh")
        run.worker.childDataReceived(2, b"ere\nno\x1b luck")
        run.worker.processExited(Failure(STATUS_1))
        run.worker.processEnded(Failure(STATUS_1))
        run.ends_logs()
        assert run.owner.heard == ["ended with status 1; its last words: no\\x1b luck"]
        assert "[wsservice#warn] worker 3 (pid 77): no\\x1b luck" in logged.text

    def test_what_it_said_on_the_bus_is_told_instead(self, run: Run) -> None:
        run.says("failed", problem="--protocol: no")
        run.worker.processExited(Failure(STATUS_1))
        run.worker.processEnded(Failure(STATUS_1))
        run.ends_logs()
        assert run.owner.heard == ["--protocol: no", "--protocol: no"]

    def test_a_program_of_its_own_that_goes_on_is_not_waited_for(self, run: Run) -> None:
        run.reactor.ends[FIRST + 2].send(b"last line\n")
        run.worker.processExited(Failure(STATUS_1))
        run.reactor.advance(0.9)
        assert run.owner.heard == []
        run.reactor.advance(0.2)
        assert run.owner.heard == ["ended with status 1"]
        assert run.messages == [b"last line\n"]

    def test_it_can_be_ended_at_once_but_for_its_log(self, run: Run) -> None:
        run.worker.finish()
        process: Any = run.worker.transport
        assert process.signals == [signal.SIGQUIT]
        run.reactor.ends[FIRST + 1].send(b"held\n")
        assert not run.worker.finish_logs()
        assert run.log == [b"held\n"]
        for number in (FIRST + 1, FIRST + 2):
            run.reactor.ends[number].close()
        assert run.worker.finish_logs()


def test_an_owner_may_be_told_anything(run: Run) -> None:
    owner = Owner()
    owner.ready(run.worker)
    owner.failed(run.worker, "")
    owner.asks_to_leave(run.worker)
    owner.ended(run.worker, "")
    owner.counted(run.worker, [])
    owner.asked(run.worker, {})
    owner.came_and_left(run.worker, [], [])
    owner.published(run.worker, b"")
