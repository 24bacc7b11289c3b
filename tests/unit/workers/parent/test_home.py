from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from wsservice.cluster import Doing
from wsservice.workers.parent.home import OverallHome
from wsservice.workers.parent.requests import Unanswered
from wsservice.workers.wire.orders import TellDoing, WorkerDoing


class Worker:
    """A worker, and its answer."""

    def __init__(self, load: int, answer: Any, silence: int = 0) -> None:
        self.load = load
        self.silence = silence
        self.answer = answer


class Supervisor:
    """Those that serve."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers

    def serving(self) -> list[Worker]:
        return list(self._workers)

    def ask(self, workers: list[Worker], question: TellDoing) -> Deferred[list[Any]]:
        assert question == TellDoing()
        return succeed([each.answer for each in workers])


def doing(*workers: Worker) -> Doing:
    supervisor: Any = Supervisor(*workers)
    people: Any = object()
    home = OverallHome(supervisor, people, list)
    home.start()
    done: list[Any] = []
    Deferred.fromCoroutine(home.doing()).addCallback(done.append)
    home.stop()
    assert isinstance(done[0], Doing)
    return done[0]


def test_what_all_workers_do() -> None:
    one = Worker(9, WorkerDoing(5, 0.5))
    two = Worker(9, WorkerDoing(7, 0.25))
    assert doing(one, two) == Doing(2, 12, 0.5)


def test_of_one_that_does_not_answer_what_is_known_without_it() -> None:
    one = Worker(9, WorkerDoing(5, 0.5))
    silent = Unanswered.LATE
    assert doing(one, Worker(3, silent)) == Doing(2, 8, 1.0)
    assert doing(one, Worker(3, silent, 7)) == Doing(2, 8, 7.0)


def test_of_none() -> None:
    assert doing() == Doing(0, 0, 0.0)
