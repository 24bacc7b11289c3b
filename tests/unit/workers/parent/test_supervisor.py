from __future__ import annotations

import signal
from typing import Any

import pytest
from twisted.internet.task import Clock

from wsservice.channels.history import History
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.server.admission import Admission, Verdict
from wsservice.workers.parent.history import Keeping
from wsservice.workers.parent.process import State, WorkerOwner
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.parent.supervisor import Supervisor
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.messages import (
    DeliveredCounts,
    MissedPage,
    Publication,
    page,
    publication,
)
from wsservice.workers.wire.orders import (
    DeliveryLost,
    DrainWorker,
    PingWorker,
    TellPresence,
    TellState,
)
from wsservice.workers.wire.reports import AskHistory

from ....support import Logged


class Bus:
    """A bus that keeps what is said on it."""

    dropped = 0

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.published: list[bytes] = []
        self.answered: list[MissedPage] = []
        self.room = True

    def say(self, message: BusMessage) -> None:
        if isinstance(message, MissedPage):
            self.answered.append(message)
        else:
            self.said.append(message)

    def hasten(self, message: BusMessage) -> None:
        self.say(message)

    def publish(self, body: bytes) -> bool:
        self.published.append(body)
        return self.room


class Fake:
    """A worker's process that does nothing by itself."""

    def __init__(self, number: int, pid: int, owner: WorkerOwner) -> None:
        self.number = number
        self.pid = pid
        self.owner: Any = owner
        self.state = State.STARTING
        self.silence = 0
        self.room = 100
        self.problem = ""
        self.bus = Bus()
        self.connections: dict[int, Admission] = {}
        self.signals: list[int] = []
        self.closed = False

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    def is_ready(self) -> None:
        self.state = State.READY
        self.owner.ready(self)

    def dies(self, how: str = "was ended by SIGKILL") -> None:
        self.state = State.OVER
        self.owner.ended(self, self.problem or how)

    ask: Any
    forget: Any
    pass_on: Any

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def close(self) -> None:
        self.closed = True


class Sharing:
    """Keeps what it was told."""

    is_open = True

    def __init__(self) -> None:
        self.put: list[Any] = []
        self.gone: list[Any] = []
        self.resumed = 0

    def put_back(self, worker: Any) -> None:
        self.put.append(worker)

    def left(self, admissions: Any) -> None:
        self.gone += admissions

    def resume(self) -> None:
        self.resumed += 1


class Service:
    """Workers of a service, and what became of them."""

    supervisor: Any

    def __init__(self, count: int = 2, keeping: Keeping | None = None) -> None:
        self.clock = Clock()
        self.made: list[Fake] = []
        self.gave_up: list[str] = []
        self.ready = 0
        self.error: OSError | None = None
        make: Any = self._make
        self.supervisor = Supervisor(
            count, make, self.clock, self.gave_up.append, self._is_ready, 4, keeping
        )
        self.sharing = Sharing()
        self.supervisor.sharing = self.sharing
        self.supervisor.start()

    def _make(self, number: int, owner: WorkerOwner) -> Fake:
        if self.error is not None:
            raise self.error
        self.made.append(Fake(number, 100 + len(self.made), owner))
        return self.made[-1]

    def _is_ready(self) -> None:
        self.ready += 1

    def all_ready(self) -> Service:
        for each in self.made:
            if each.state is State.STARTING:
                each.is_ready()
        return self

    def advance(self, seconds: float) -> None:
        """Let time pass, in which each that serves answers its pings."""
        for _ in range(int(seconds / 0.5)):
            self.clock.advance(0.5)
            for each in self.made:
                each.silence = 0


@pytest.fixture
def service() -> Service:
    return Service().all_ready()


class TestStart:
    def test_all_are_started_and_once_all_serve_it_is_told(self, logged: Logged) -> None:
        service = Service()
        assert [each.number for each in service.made] == [1, 2]
        assert service.supervisor.ready_workers() == []
        service.made[1].is_ready()
        assert service.supervisor.ready_workers() == service.made[1:]
        assert service.ready == 0
        service.made[0].is_ready()
        assert service.ready == 1
        assert service.sharing.resumed == 2
        assert "worker 1 (pid 100): started" in logged.text

    def test_one_that_takes_too_long_is_killed(self) -> None:
        service = Service()
        for _ in range(60):
            assert service.made[0].signals == []
            service.clock.advance(1)
        assert service.made[0].signals == [signal.SIGKILL]
        assert service.made[0].problem == "did not begin within 60 s"

    def test_where_none_can_be_started_it_is_given_up(self, logged: Logged) -> None:
        service = Service()
        for _ in range(20):
            if service.gave_up:
                break
            for each in service.made:
                if not each.closed:
                    each.dies("ended with status 1; its last words: no luck")
            service.clock.advance(0.5)
        assert service.gave_up == [
            "no worker can be started: ended with status 1; its last words: no luck"
        ]
        assert sum(each.closed for each in service.made) >= 5
        assert "connections were lost" not in logged.text

    def test_so_it_is_where_the_system_starts_none(self, logged: Logged) -> None:
        service = Service().all_ready()
        service.error = OSError(11, "Resource temporarily unavailable")
        for each in service.made:
            each.dies()
        for _ in range(10):
            service.clock.advance(0.5)
        assert service.gave_up[0].endswith(": Resource temporarily unavailable")
        assert "worker 1: cannot be started, Resource temporarily unavailable" in logged.text


class TestDeath:
    def test_one_that_dies_is_started_again(self, service: Service, logged: Logged) -> None:
        first = service.made[0]
        first.connections = {7: Admission(Verdict.ADMITTED)}
        first.dies()
        assert first.closed
        assert service.sharing.put == [first]
        assert [each.verdict for each in service.sharing.gone] == [Verdict.ADMITTED]
        assert (
            "[error] worker 1 (pid 100): was ended by SIGKILL; 1 connections were lost with it"
        ) in logged.text.replace("wsservice#", "")
        assert service.supervisor.ready_workers() == [service.made[1]]
        service.clock.advance(0.1)
        assert [each.number for each in service.made] == [1, 2, 1]
        service.all_ready()
        assert len(service.supervisor.ready_workers()) == 2
        assert service.ready == 1

    def test_each_time_it_takes_twice_as_long(self, service: Service) -> None:
        waits = []
        for _ in range(9):
            service.made[-1].is_ready() if service.made[-1].state is State.STARTING else None
            count = len(service.made)
            service.made[-1].dies()
            waited = 0.0
            while len(service.made) == count:
                service.clock.advance(0.01)
                waited += 0.01
            waits.append(waited)
        for wait, longest in zip(waits, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10], strict=True):
            assert longest / 2 <= wait + 0.02
            assert wait <= longest + 0.02
        assert service.gave_up == []

    def test_until_it_was_sound_for_a_while(self, service: Service) -> None:
        for _ in range(5):
            service.made[-1].dies()
            service.clock.advance(10)
            service.made[-1].is_ready()
        service.advance(11)
        count = len(service.made)
        service.made[-1].dies()
        service.clock.advance(0.11)
        assert len(service.made) == count + 1

    def test_one_that_serves_has_the_failures_before_it_forgotten(self) -> None:
        service = Service(1)
        for attempts in (4, 3):
            for _ in range(attempts):
                service.made[-1].dies()
                service.clock.advance(10)
            service.made[-1].is_ready()
        for _ in range(4):
            service.made[-1].dies()
            service.clock.advance(10)
        assert service.gave_up == []
        service.made[-1].dies()
        assert service.gave_up == ["no worker can be started: was ended by SIGKILL"]

    def test_while_another_serves_it_is_tried_for_ever(self, service: Service) -> None:
        for _ in range(30):
            service.made[-1].dies()
            service.advance(10.5)
        assert service.gave_up == []
        assert len(service.made) == 32


class TestStuck:
    def test_all_are_pinged(self, service: Service) -> None:
        service.clock.advance(1)
        assert service.made[0].bus.said == [PingWorker()]
        assert service.made[0].silence == 1

    def test_what_one_that_is_silent_did_not_take_goes_to_others(self, service: Service) -> None:
        stuck = service.made[0]
        for _ in range(2):
            service.made[1].silence = 0
            service.clock.advance(1)
        assert service.sharing.put == [stuck]

    def test_after_long_it_is_killed(self, service: Service) -> None:
        stuck, sound = service.made
        for _ in range(10):
            assert stuck.signals == []
            sound.silence = 0
            service.clock.advance(1)
        assert stuck.signals == [signal.SIGKILL]
        assert stuck.problem == "did not answer for 10 s, and was killed"
        assert sound.signals == []

    def test_a_parent_that_had_no_turn_counts_it_once(self, service: Service) -> None:
        service.clock.advance(60)
        assert [each.silence for each in service.made] == [1, 1]


class TestRoll:
    def test_one_after_another_is_replaced_when_the_new_one_serves(
        self, service: Service, logged: Logged
    ) -> None:
        one, two = service.made
        service.supervisor.roll()
        assert len(service.made) == 3
        assert service.supervisor.ready_workers() == [one, two]
        service.made[2].is_ready()
        assert one.state is State.LEAVING
        assert one.bus.said == [DrainWorker(roll=True)]
        assert service.sharing.put == [one]
        assert service.supervisor.ready_workers() == [service.made[2], two]
        assert service.supervisor.serving() == [service.made[2], two, one]
        assert two.state is State.READY
        service.made[3].is_ready()
        assert two.bus.said == [DrainWorker(roll=True)]
        assert "all workers are replaced" in logged.text
        one.dies("ended with status 0")
        assert "worker 1 (pid 100): ended with status 0; it was replaced" in logged.text
        assert len(service.made) == 4
        service.supervisor.roll()
        assert len(service.made) == 5

    def test_a_second_one_is_told_to_wait(self, service: Service, logged: Logged) -> None:
        service.supervisor.roll()
        service.supervisor.roll()
        assert len(service.made) == 3
        assert "workers are being replaced already" in logged.text

    def test_one_that_does_not_end_is_killed(self, service: Service, logged: Logged) -> None:
        service.supervisor.roll()
        service.made[2].is_ready()
        for each in service.made:
            each.silence = -100
        service.clock.advance(9)
        assert service.made[0].signals == [signal.SIGKILL]
        assert "worker 1 (pid 100): does not end, and is killed" in logged.text

    def test_a_new_one_that_cannot_start_ends_it_and_the_old_ones_stay(
        self, service: Service, logged: Logged
    ) -> None:
        service.supervisor.roll()
        service.made[2].dies("ended with status 1")
        assert "worker 1 (pid 102): ended with status 1; it was to replace another" in logged.text
        assert "workers are not replaced any further" in logged.text
        service.advance(20)
        assert len(service.made) == 3
        assert service.supervisor.ready_workers() == service.made[:2]
        service.supervisor.roll()
        assert len(service.made) == 4

    def test_one_that_the_system_does_not_start_ends_it_too(self, service: Service) -> None:
        service.error = OSError(11, "no")
        service.supervisor.roll()
        service.advance(20)
        assert len(service.made) == 2
        service.error = None
        service.supervisor.roll()
        assert len(service.made) == 3

    def test_one_that_dies_before_it_is_replaced_is_not_started_twice(
        self, service: Service
    ) -> None:
        service.supervisor.roll()
        service.made[0].dies()
        service.advance(5)
        assert len(service.made) == 3
        service.made[2].is_ready()
        assert service.supervisor.ready_workers() == [service.made[2], service.made[1]]

    def test_and_where_both_die_there_is_another(self, service: Service) -> None:
        service.supervisor.roll()
        service.made[0].dies()
        service.made[2].dies()
        service.advance(1)
        assert len(service.made) == 4

    def test_one_that_waits_to_be_started_is_at_once(self, service: Service) -> None:
        service.made[0].dies()
        service.supervisor.roll()
        assert len(service.made) == 3
        service.advance(5)
        assert len(service.made) == 3

    def test_one_that_was_told_to_end_by_others_is_replaced_first(
        self, service: Service, logged: Logged
    ) -> None:
        one = service.made[0]
        service.supervisor.asks_to_leave(one)
        service.supervisor.asks_to_leave(one)
        assert len(service.made) == 3
        assert one.state is State.READY
        service.made[2].is_ready()
        assert one.bus.said == [DrainWorker(roll=True)]
        assert "worker 1 (pid 100): was told to end, and is replaced" in logged.text


class TestQuestions:
    @pytest.fixture
    def asked(self, service: Service) -> list[Any]:
        """Return the questions to each worker."""
        asked: list[Any] = []
        for each in service.made:
            each.ask = lambda *question: asked.append(question)
            each.forget = lambda request: asked.append(("forget", request))
        return asked

    def test_the_answers_come_in_the_order_of_the_workers(
        self, service: Service, asked: list[Any]
    ) -> None:
        answers: list[Any] = []
        question = TellPresence("a", 5)
        service.supervisor.ask(service.made, question).addCallback(answers.append)
        assert [each[0] for each in asked] == [TellPresence("a", 5, request=1)] * 2
        asked[1][1]("second")
        assert answers == []
        asked[0][1]("first")
        assert answers == [["first", "second"]]

    def test_one_that_does_not_answer_is_told_from_one_that_answers_none(
        self, service: Service, asked: list[Any]
    ) -> None:
        answers: list[Any] = []
        service.supervisor.ask(service.made, TellState("1")).addCallback(answers.append)
        asked[0][1](None)
        service.clock.advance(1)
        assert answers == [[None, Unanswered.LATE]]
        assert asked[-1] == ("forget", 1)

    def test_what_the_parent_publishes_all_have_and_say_to_how_many(self, service: Service) -> None:
        asked: list[Any] = []
        for each in service.made:
            each.pass_on = lambda *question: asked.append(question)
            each.forget = lambda request: None
        published: list[Published] = []
        service.supervisor.deliver(ChannelMessage("news", b"hello", True)).addCallback(
            published.append
        )
        assert [publication(each[2]) for each in asked] == [
            Publication("news", b"hello", True, 1)
        ] * 2
        asked[0][1](DeliveredCounts(3, 1))
        asked[1][1](DeliveredCounts(4, 0))
        service.supervisor.deliver(ChannelMessage("news", b"hello")).addCallback(published.append)
        asked[2][1](Unanswered.NO_ROOM)
        service.clock.advance(1)
        assert published == [Published(7, 1), Published(0, 0, complete=False)]

    def test_without_workers_there_are_none(self, service: Service) -> None:
        answers: list[Any] = []
        service.supervisor.ask([], TellState("1")).addCallback(answers.append)
        assert answers == [[]]


class TestPublishing:
    def test_what_one_publishes_goes_to_all_others(self, service: Service) -> None:
        service.supervisor.roll()
        service.made[2].is_ready()
        service.supervisor.published(service.made[1], b"body")
        published = [each.bus.published for each in service.made]
        # To one that leaves, since it has connections; to none that has not begun.
        assert published == [[b"body"], [], [b"body"], []]


class TestKeeping:
    @pytest.fixture
    def kept(self) -> Service:
        return Service(2, Keeping(History(10, 0, 100_000), lambda: 5.0, lambda: 5.0)).all_ready()

    def came(self, service: Service) -> None:
        for each in service.made:
            service.supervisor.came_and_left(each, ["a"], [])

    def ask(self, service: Service, worker: Fake, since: tuple[int, str] | None = None) -> Any:
        service.supervisor.asked(worker, AskHistory(3, "a", since))
        return page(worker.bus.answered.pop().body()).missed

    def test_what_one_publishes_goes_to_all_with_its_place(self, kept: Service) -> None:
        kept.supervisor.published(kept.made[1], Publication("a", b"x", True).body())
        (first,), (second,) = (each.bus.published for each in kept.made)
        assert first == second
        message = publication(first)
        assert (message.payload, message.binary, message.request) == (b"x", True, 0)
        assert message.stamp is not None
        assert message.stamp.position == self.ask(kept, kept.made[0]).position
        assert message.stamp.position.offset == 1

    def test_so_does_what_the_parent_publishes(self, kept: Service) -> None:
        asked: list[Any] = []

        def pass_on(message: Publication, answered: Any, body: bytes) -> bool:
            assert message.body() == body
            asked.append((publication(body), answered))
            return True

        for each in kept.made:
            each.pass_on = pass_on
        published: list[Published] = []
        kept.supervisor.deliver(ChannelMessage("a", b"x")).addCallback(published.append)
        (message, one), (same, other) = asked
        assert message == same
        assert message.stamp is not None
        assert (message.request, message.stamp.position.offset) == (1, 1)
        for each in (one, other):
            each(DeliveredCounts(1, 0))
        assert published == [Published(2, 0)]

    def test_one_that_had_no_room_is_told_and_asks(self, kept: Service) -> None:
        self.came(kept)
        start = self.ask(kept, kept.made[0]).position
        kept.made[0].bus.room = False
        body = Publication("a", b"x").body()
        for _ in range(2):
            kept.supervisor.published(kept.made[1], body)
        assert [each.bus.said for each in kept.made] == [[DeliveryLost("a")], []]
        missed = self.ask(kept, kept.made[0], (start.offset, start.epoch))
        assert [each.offset for each in missed.entries] == [1, 2]

    def test_so_it_is_where_the_parent_publishes(self, kept: Service) -> None:
        self.came(kept)
        kept.made[0].pass_on = lambda *_: False
        kept.made[1].pass_on = lambda *_: True
        for each in kept.made:
            each.forget = lambda _: None
        kept.supervisor.deliver(ChannelMessage("a", b"x"))
        assert [each.bus.said for each in kept.made] == [[DeliveryLost("a")], []]

    def test_what_is_too_long_reaches_nobody(
        self, kept: Service, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        monkeypatch.setattr("wsservice.workers.parent.history.LONGEST_KEPT", 5)
        published: list[Published] = []
        kept.supervisor.deliver(ChannelMessage("a", bytes(5))).addCallback(published.append)
        kept.supervisor.published(kept.made[0], Publication("a", bytes(5)).body())
        assert published == [Published(0, 0, complete=False)]
        assert [each.bus.published for each in kept.made] == [[], []]
        assert kept.supervisor.dropped == 2

    def test_one_that_is_over_is_on_no_channel_any_more(self, kept: Service) -> None:
        self.came(kept)
        kept.made[0].dies()
        assert kept.supervisor.keeping.is_occupied("a")
        kept.made[1].dies()
        assert not kept.supervisor.keeping.is_occupied("a")

    def test_without_a_history_nobody_is_answered(self, service: Service) -> None:
        self.came(service)
        service.supervisor.asked(service.made[0], AskHistory(1, "a", None))
        assert service.made[0].bus.answered == []


class TestStop:
    def test_all_are_told_and_waited_for(self, service: Service) -> None:
        stopped: list[Any] = []
        service.supervisor.stop().addCallback(stopped.append)
        assert service.supervisor.stop() is not None
        assert [each.bus.said for each in service.made] == [[DrainWorker(roll=False)]] * 2
        service.made[0].dies("ended with status 0")
        assert stopped == []
        service.made[1].dies("ended with status 0")
        assert stopped == [None]
        assert len(service.made) == 2
        assert service.clock.getDelayedCalls() == []
        service.supervisor.roll()
        assert len(service.made) == 2

    def test_those_that_start_are_killed_and_none_is_started_again(self) -> None:
        service = Service()
        service.made[0].dies()
        stopped: list[Any] = []
        service.supervisor.stop().addCallback(stopped.append)
        assert service.made[1].signals == [signal.SIGKILL]
        service.made[1].dies()
        assert stopped == [None]
        service.clock.advance(100)
        assert len(service.made) == 2

    def test_those_that_do_not_end_are_killed(self, service: Service, logged: Logged) -> None:
        service.supervisor.stop()
        service.clock.advance(8.9)
        assert service.made[0].signals == []
        service.clock.advance(0.2)
        assert [each.signals for each in service.made] == [[signal.SIGKILL]] * 2

    def test_without_workers_it_is_over_at_once(self) -> None:
        service = Service()
        for each in service.made:
            each.dies()
        stopped: list[Any] = []
        service.supervisor.stop().addCallback(stopped.append)
        service.supervisor.stop().addCallback(stopped.append)
        assert stopped == [None, None]

    def test_all_can_be_killed(self, service: Service) -> None:
        service.supervisor.kill()
        assert [each.signals for each in service.made] == [[signal.SIGKILL]] * 2
