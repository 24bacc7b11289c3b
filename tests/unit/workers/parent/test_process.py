from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wsservice.server.admission import Admission, Verdict
from wsservice.workers.parent.process import State, Worker, WorkerOwner
from wsservice.workers.parent.program import Program
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.wire import framing
from wsservice.workers.wire.coding import BusMessage, Reply
from wsservice.workers.wire.framing import framed
from wsservice.workers.wire.messages import FIRST, DeliveredCounts, Publication
from wsservice.workers.wire.orders import SendTo, Start, TellDoing, TellFigures
from wsservice.workers.wire.passing import Handing, take
from wsservice.workers.wire.reports import (
    AskHistory,
    AskPresence,
    ChannelsChanged,
    ConnectionsChanged,
    Leaving,
    NoReply,
    Pong,
    Ready,
    StartFailed,
)

from ....support import Logged

START = Start({}, "/", "/", (), (), "text", "log", "", "")

STATUS_1 = ProcessTerminated(1, None, 256)


class Process:
    """A process, as `spawnProcess` returns it."""

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
        self.blocked: set[Any] = set()

    def spawnProcess(
        self, protocol: Any, executable: str, args: Any, env: Any, childFDs: Any
    ) -> Any:
        if self.error is not None:
            raise self.error
        self.spawned.append((executable, args, env, childFDs))
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
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


class Told(WorkerOwner):
    """An owner that keeps the events of a worker."""

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

    def asked(self, worker: Worker, message: AskHistory) -> None:
        self.heard.append(message)

    def presence_asked(self, worker: Worker, message: AskPresence) -> None:
        self.heard.append(message)

    def came_and_left(self, worker: Worker, came: Any, left: Any) -> None:
        self.heard.append((came, left))


class Run:
    """A worker, as its parent sees it, and its side."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.owner = Told()
        self.log: list[bytes] = []
        self.messages: list[bytes] = []
        self.program = Program(START, 2, self.log.append, self.messages.append, self.reactor)
        self.worker = Worker(3, self.program, self.owner)

    def says(self, message: BusMessage) -> None:
        self.worker.bus.dataReceived(framed(message.body()))

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
        assert args == [sys.executable, "-P", "-m", "wsservice.workers.child", "3", "2", module]
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


def test_until_it_has_its_handlers_signals_for_the_parent_wait(run: Run) -> None:
    assert {signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2} <= run.reactor.blocked
    assert signal.SIGTERM not in run.reactor.blocked
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & run.reactor.blocked


def _raise(error: Exception) -> None:
    raise error


class TestBus:
    def test_it_serves_once_it_says_so(self, run: Run) -> None:
        run.says(Ready(500))
        assert run.worker.state is State.READY
        assert run.worker.room == 500
        run.says(Ready(400))
        assert run.owner.heard == ["ready"]

    def test_what_it_says_of_its_connections(self, run: Run) -> None:
        admissions = [run.hand(0, number) for number in (1, 2)]
        assert run.worker.load == 2
        run.worker.silence = 3
        run.says(ConnectionsChanged((1,), ()))
        assert list(run.worker.untaken) == [2]
        assert run.worker.silence == 0
        run.says(ConnectionsChanged((2,), (1, 2, 99)))
        assert run.owner.heard == [[], admissions]
        assert run.worker.load == 0

    def test_what_else_it_says(self, run: Run) -> None:
        run.worker.silence = 3
        run.says(Pong())
        assert run.worker.silence == 0
        run.says(Leaving())
        run.says(StartFailed("no\x1b luck"))
        body = Publication("a", b"x").body()
        run.worker.bus.dataReceived(framed(body))
        run.says(ChannelsChanged(("a",), ("b",)))
        asked = AskHistory(1, "a", None), AskHistory(2, "a", (3, "e.1")), AskPresence(1, "a", 5)
        for each in asked:
            run.says(each)
        assert run.owner.heard == [
            *("leaving", "no\\x1b luck", body),
            *((("a",), ("b",)), *asked),
        ]

    @pytest.mark.parametrize(
        "message",
        [
            b'{"say": "nonsense"}',
            b'{"say": "drain", "roll": true}',
            b'{"say": "ready"}',
            b'{"say": "ready", "room": "many"}',
            b'{"say": "counts", "taken": 1}',
            b'{"say": "ask", "request": 1}',
            b'{"say": "channels", "came": ["a"]}',
            b'{"say": "answer", "request": "1", "answer": 2}',
            b'{"say": "ask", "request": 1, "channel": "a", "since": 7}',
            b'{"say": "traced", "trace": 1, "event": 7}',
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
        assert "malformed message on the bus" in logged.text

    def test_a_fault_of_the_parent_ends_nobody(
        self, run: Run, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            run.owner, "came_and_left", lambda *_: _raise(ValueError("the parent's own"))
        )
        # Without a transport: whatever would end it fails.
        run.says(ChannelsChanged(("a",), ()))
        assert "the parent's own" in logged.failures[0]
        run.says(ChannelsChanged(("a",), ()))
        run.says(Ready(3))
        assert run.worker.room == 3
        run.reactor.advance(60)
        process: Any = run.worker.transport
        assert process.signals == []

    def test_what_it_could_not_answer_is_told(self, run: Run) -> None:
        answers: list[Any] = []
        run.worker.ask(TellFigures(request=1), answers.append)
        run.says(NoReply(1))
        run.says(NoReply(2))
        assert answers == [Unanswered.REFUSED]

    def test_what_is_too_long_to_be_asked_is_not(
        self, run: Run, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(framing, "LONGEST", 100)
        answers: list[Any] = []
        run.worker.ask(SendTo("1", "x" * 100, False, request=1), answers.append)
        assert answers == [Unanswered.TOO_LONG]
        assert "worker 3 (pid 77): cannot be asked 'send'" in logged.text
        run.worker.bus.connectionLost()
        assert answers == [Unanswered.TOO_LONG]

    def test_questions_are_answered(self, run: Run) -> None:
        answers: list[Any] = []
        run.worker.ask(TellFigures(request=1), answers.append)
        message = Publication("a", b"x", False, 2)
        assert run.worker.pass_on(message, answers.append, message.body())
        run.worker.ask(TellFigures(request=3), answers.append)
        run.worker.forget(3)
        run.says(Reply(2, DeliveredCounts(5, 0)))
        run.says(Reply(3, "late"))
        assert answers == [DeliveredCounts(5, 0)]
        run.worker.bus.connectionLost()
        assert answers == [DeliveredCounts(5, 0), Unanswered.GONE]
        run.worker.ask(TellFigures(request=4), answers.append)
        assert run.worker.pass_on(message, answers.append, message.body())
        assert answers[2:] == [Unanswered.GONE] * 2

    def test_an_answer_of_another_type_is_none(self, run: Run, logged: Logged) -> None:
        answers: list[Any] = []
        run.worker.bus.transport = transport = Mock()
        run.worker.ask(TellDoing(request=1), answers.append)
        run.says(Reply(1, {"connections": 5}))
        assert answers == [Unanswered.REFUSED]
        transport.abortConnection.assert_not_called()
        assert "worker 3 (pid 77): 'doing': that is no answer" in logged.text

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
        run.says(ConnectionsChanged((), ()))
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
        run.says(StartFailed("--protocol: no"))
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
    owner = WorkerOwner()
    owner.ready(run.worker)
    owner.failed(run.worker, "")
    owner.asks_to_leave(run.worker)
    owner.ended(run.worker, "")
    owner.counted(run.worker, [])
    owner.asked(run.worker, AskHistory(1, "", None))
    owner.presence_asked(run.worker, AskPresence(1, "", 0))
    owner.came_and_left(run.worker, [], [])
    owner.published(run.worker, b"")
