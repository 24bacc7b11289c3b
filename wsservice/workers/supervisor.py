"""Workers started, restarted where they die, replaced where they are stuck, and stopped."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..escape import escape
from ..policy import Admission
from .keeping import Keeping
from .messages import Publication, publication
from .process import Owner, State, Worker
from .sharing import SILENT, Sharing

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
"""Seconds until one that died is started again: doubled from one time to the next."""

_STABLE = 10.0
"""Seconds after which one that serves counts as sound, and its failures are forgotten."""

_ATTEMPTS = 5
"""Failures in a row, while none serves, after which the service ends."""

_TICK = 1.0
"""Seconds between two pings of each worker."""

_STUCK = 10
"""Pings in a row without an answer, after which a worker is killed. Counted, and not timed:
where the parent itself had no turn, its workers had no chance to answer."""

_ANSWER = 1.0
"""Seconds that a worker has to answer a question."""

_REQUESTS = 2**31
"""Numbers that questions have, until they begin anew."""

_LONGEST_START = 60
"""Ticks that a worker may take to begin."""

MARGIN = 5.0
"""Seconds beyond `Config.drain` that a worker may take to end."""

_log = Logger(namespace="wsservice")


@attrs.define(eq=False)
class Slot:
    """The place of one worker: who is in it, and who is to follow."""

    number: int
    current: Worker | None = None
    following: Worker | None = None
    failures: int = 0
    since: float | None = None
    """When its worker began to serve, if it does."""
    restart: IDelayedCall | None = None


@attrs.frozen
class Published:
    """What became of a message."""

    handed: int
    """To how many connections it was handed."""
    dropped: int
    """How many did not take it: they read too slowly, or are closing."""
    unknown: int
    """How many workers did not say, or had no room for it."""

    @classmethod
    def of(cls, answers: Sequence[Any]) -> Published:
        """By what each worker answered, None where it did not."""
        known = [each for each in answers if each is not None]
        return cls(
            sum(int(each["handed"]) for each in known),
            sum(int(each["dropped"]) for each in known),
            len(answers) - len(known),
        )


class Watcher(Protocol):
    """What shows the workers to people."""

    def figures_of(self, worker: Worker, figures: dict[str, Any]) -> None:
        """A worker says for the last time what its figures are."""

    def traced(self, number: int, event: str | None) -> None:
        """A worker says something of a trace."""

    def lost(self, worker: Worker) -> None:
        """A worker is gone."""


class Supervisor(Owner):
    """The workers of a service, `count` of them, each made by `make`.

    `drain` is `Config.drain`, `keeping` the history, where one is kept. `give_up` is
    called with what is wrong where none can be started, `when_ready` once all serve for
    the first time.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[int, Owner], Worker],
        reactor: Any,
        give_up: Callable[[str], None],
        when_ready: Callable[[], None],
        drain: float,
        keeping: Keeping | None = None,
    ) -> None:
        self.drain = drain
        self.keeping = keeping
        #: Who shows all this to people, if anybody does.
        self.watcher: Watcher | None = None
        #: How many ended without having been told to.
        self.lost = 0
        self._dropped = 0
        self.sharing: Sharing | None = None
        self.slots = [Slot(number) for number in range(1, count + 1)]
        self.leaving: list[Worker] = []
        self._ages: dict[Worker, int] = {}
        self._make = make
        self._reactor = reactor
        self._give_up = give_up
        self._when_ready = when_ready
        self._all_were_ready = False
        self._asked = 0
        self._failures = 0
        self._given_up = False
        self._rolling: list[Slot] | None = None
        self._stopped: Deferred[None] | None = None
        self._calls: list[IDelayedCall] = []

    # Who there is

    def ready_workers(self) -> list[Worker]:
        """Those that may be handed connections."""
        found = [slot.current for slot in self.slots]
        return [each for each in found if each is not None and each.state is State.READY]

    def serving(self) -> list[Worker]:
        """Those that have connections, or may have."""
        return self.ready_workers() + [each for each in self.leaving if each.state is State.LEAVING]

    def all(self) -> list[Worker]:
        """Each that has a process."""
        places = [each for slot in self.slots for each in (slot.current, slot.following)]
        return [each for each in [*places, *self.leaving] if each is not None]

    # Start

    def start(self) -> None:
        """Start all workers."""
        for slot in self.slots:
            self._start(slot)
        self._calls = [self._reactor.callLater(_TICK, self._tick)]

    def _start(self, slot: Slot) -> None:
        slot.restart = None
        worker = self._begin(slot)
        slot.current = worker

    def _begin(self, slot: Slot) -> Worker | None:
        try:
            worker = self._make(slot.number, self)
        except OSError as error:
            _log.error(
                "worker {number}: cannot be started, {reason}",
                number=slot.number,
                reason=escape(error.strerror or str(error)),
            )
            self._rolling = None
            if slot.current is None:
                self._failed(slot, escape(error.strerror or str(error)))
            return None
        self._ages[worker] = 0
        return worker

    def ready(self, worker: Worker) -> None:
        _log.info("{worker}: started", worker=str(worker))
        self._failures = 0
        slot = self._slot(worker)
        slot.since = self._reactor.seconds()
        before = None
        if slot.following is worker:
            before, slot.current, slot.following = slot.current, worker, None
        if before is not None:
            self._retire(before)
        self._resume()
        if not self._all_were_ready and len(self.ready_workers()) == len(self.slots):
            self._all_were_ready = True
            self._when_ready()
        self._roll_on(slot)

    def _slot(self, worker: Worker) -> Slot:
        return self.slots[worker.number - 1]

    # Death

    def ended(self, worker: Worker, how: str) -> None:
        slot = self._slot(worker)
        was_leaving = worker in self.leaving
        followed = slot.following is worker
        if was_leaving:
            self.leaving.remove(worker)
        elif followed:
            slot.following = None
        elif slot.current is worker:
            slot.current = None
        self._ages.pop(worker, None)
        if self.sharing is not None:
            if self._stopped is None:
                self.sharing.put_back(worker)
            self.sharing.left(list(worker.connections.values()))
        self._dropped += worker.bus.dropped
        if self.keeping is not None:
            self.keeping.gone(worker)
        if self.watcher is not None:
            self.watcher.lost(worker)
        lost = len(worker.connections)
        worker.connections.clear()
        worker.close()
        if self._stopped is not None:
            _log.info("{worker}: {how}", worker=str(worker), how=how)
            self._fire_if_over()
        elif was_leaving:
            _log.info("{worker}: {how}; it was replaced", worker=str(worker), how=how)
        elif followed:
            self._replacement_failed(slot, worker, how)
        else:
            self.lost += 1
            what = how
            if slot.since is not None:
                what += f"; {lost} connections were lost with it"
                if self._reactor.seconds() - slot.since >= _STABLE:
                    slot.failures = 0
            _log.error("{worker}: {what}", worker=str(worker), what=what)
            self._failed(slot, how)
        self._resume()

    def _failed(self, slot: Slot, how: str) -> None:
        if self._given_up:
            return
        slot.since = None
        self._failures += 1
        if self._failures >= _ATTEMPTS and not self.ready_workers():
            self._given_up = True
            self._give_up(f"no worker can be started: {how}")
            return
        if slot.following is not None:
            return  # which takes its place
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2**slot.failures)
        slot.failures = min(slot.failures + 1, 16)
        delay = random.uniform(longest / 2, longest)  # noqa: S311
        slot.restart = self._reactor.callLater(delay, self._start, slot)

    # Replacing

    def roll(self) -> None:
        """Replace all workers, one after another. Nobody is refused meanwhile."""
        if self._stopped is not None:
            return
        if self._rolling is not None:
            _log.warn("workers are being replaced already; wait until that is done")
            return
        _log.info("workers are replaced, one after another")
        self._rolling = list(self.slots)
        self._roll_on()

    def _roll_on(self, done: Slot | None = None) -> None:
        if self._rolling is None or (done is not None and done not in self._rolling):
            return
        if done is not None:
            self._rolling.remove(done)
        if self._rolling:
            self._replace(self._rolling[0])
        else:
            self._rolling = None
            _log.info("all workers are replaced")

    def _replace(self, slot: Slot) -> None:
        if slot.following is not None:
            return
        if slot.restart is not None:
            slot.restart.cancel()
            slot.restart = None
        slot.following = self._begin(slot)

    def _replacement_failed(self, slot: Slot, worker: Worker, how: str) -> None:
        _log.error(
            "{worker}: {how}; it was to replace another, which stays",
            worker=str(worker),
            how=how,
        )
        if self._rolling is not None:
            self._rolling = None
            _log.error("workers are not replaced any further")
        if slot.current is None:
            self._failed(slot, how)

    def asks_to_leave(self, worker: Worker) -> None:
        if self._stopped is None and self._slot(worker).current is worker:
            _log.info("{worker}: was told to end, and is replaced", worker=str(worker))
            self._replace(self._slot(worker))

    def _retire(self, worker: Worker) -> None:
        """Have a worker close its connections, and end."""
        self.leaving.append(worker)
        if worker.state is State.READY and self.sharing is not None:
            worker.state = State.LEAVING
            self.sharing.put_back(worker)
            worker.bus.say("drain", roll=True)
        else:
            worker.signal(signal.SIGKILL)
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self._reactor.callLater(self.drain + MARGIN, self._kill, worker))

    def _kill(self, worker: Worker) -> None:
        if worker.state is not State.OVER:
            _log.error("{worker}: does not end, and is killed", worker=str(worker))
            worker.signal(signal.SIGKILL)

    # Whether they are alive

    def _tick(self) -> None:
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self._reactor.callLater(_TICK, self._tick))
        for worker in self.all():
            if worker.state is State.STARTING:
                self._ages[worker] = self._ages.get(worker, 0) + 1
                if self._ages[worker] == _LONGEST_START:
                    worker.problem = f"did not begin within {_LONGEST_START * _TICK:g} s"
                    worker.signal(signal.SIGKILL)
                continue
            worker.silence += 1
            worker.bus.say("ping")
            if worker.silence == SILENT and self.sharing is not None:
                self.sharing.put_back(worker)
            if worker.silence == _STUCK:
                worker.problem = f"did not answer for {_STUCK * _TICK:g} s, and was killed"
                worker.signal(signal.SIGKILL)

    def counted(self, worker: Worker, left: Sequence[Admission]) -> None:
        if self.sharing is not None:
            self.sharing.left(left)
        self._resume()

    def _resume(self) -> None:
        if self.sharing is not None and self._stopped is None:
            self.sharing.resume()

    # Publishing

    def published(self, worker: Worker, body: bytes) -> None:
        if self.keeping is not None:
            self._keep(publication(body), self.keeping)
            return
        for each in self.serving():
            if each is not worker:
                each.bus.publish(body)

    def _keep(self, message: Publication, keeping: Keeping) -> None:
        """Put a message into the history, and pass it on to all, its own worker included."""
        stamped = keeping.stamped(message)
        if stamped is None:
            return
        body = stamped.body()
        for each in self.serving():
            if not each.bus.publish(body):
                keeping.dropped(each, message.channel)

    def asked(self, worker: Worker, message: Mapping[str, Any]) -> None:
        if self.keeping is not None:
            self.keeping.asked(worker, message)

    def came_and_left(self, worker: Worker, came: Sequence[str], left: Sequence[str]) -> None:
        if self.keeping is not None:
            self.keeping.came_and_left(worker, came, left)

    @property
    def dropped(self) -> int:
        """Publications that found no room on their way to a worker, or were too long for it."""
        refused = 0 if self.keeping is None else self.keeping.refused
        return self._dropped + sum(worker.bus.dropped for worker in self.all()) + refused

    # What is shown

    def figures_of(self, worker: Worker, figures: dict[str, Any]) -> None:
        if self.watcher is not None:
            self.watcher.figures_of(worker, figures)

    def traced(self, number: int, event: str | None) -> None:
        if self.watcher is not None:
            self.watcher.traced(number, event)

    def ask(self, workers: Sequence[Worker], what: str, **members: Any) -> Deferred[list[Any]]:
        """Ask workers something: what each answered, None where it did not within a second."""
        return self._answers(
            workers,
            lambda worker, request, answered: worker.ask(request, answered, what, **members),
        )

    def publish(self, channel: str, payload: bytes, isBinary: bool = False) -> Deferred[Published]:
        """Send a message to every open connection on a channel, in every worker.

        Fires with what became of it, within a second.
        """
        workers = self.serving()
        keeping = self.keeping
        message = Publication(channel, payload, isBinary)
        stamped = message if keeping is None else keeping.stamped(message)
        if stamped is None:
            return succeed(Published(0, 0, len(workers)))

        @cache  # all have the same
        def body(request: int) -> bytes:
            return attrs.evolve(stamped, request=request).body()

        def put(worker: Worker, request: int, answered: Callable[[Any], None]) -> None:
            room = worker.ask_body(request, answered, body(request))
            if keeping is not None and not room:
                keeping.dropped(worker, channel)

        return self._answers(workers, put).addCallback(Published.of)

    def _answers(
        self,
        workers: Sequence[Worker],
        put: Callable[[Worker, int, Callable[[Any], None]], None],
    ) -> Deferred[list[Any]]:
        answers: dict[Worker, Any] = dict.fromkeys(workers)
        waiting = list(workers)
        # Never 0, which is that of what has no answer; and no more than fits in 32 bits.
        self._asked = self._asked % _REQUESTS + 1
        request = self._asked
        done: Deferred[list[Any]] = Deferred()

        def end() -> None:
            for each in waiting:
                each.forget(request)
            done.callback(list(answers.values()))

        deadline = self._reactor.callLater(_ANSWER, end)

        def answered(answer: Any, worker: Worker) -> None:
            answers[worker] = answer
            waiting.remove(worker)
            if not waiting:
                deadline.cancel()
                end()

        if not waiting:
            deadline.cancel()
            end()
        for worker in workers:
            put(worker, request, partial(answered, worker=worker))
        return done

    # The end

    def stop(self) -> Deferred[None]:
        """Have all workers close their connections, and end; fires when all have ended."""
        if self._stopped is not None:
            return self._stopped
        self._stopped = Deferred()
        for slot in self.slots:
            if slot.restart is not None:
                slot.restart.cancel()
                slot.restart = None
        for call in self._calls:
            if call.active():
                call.cancel()
        workers = self.all()
        for worker in workers:
            if worker.state is State.STARTING:
                worker.signal(signal.SIGKILL)
            elif worker.state is State.READY:
                worker.bus.say("drain", roll=False)
        if not workers:
            return succeed(None)
        self._calls = [
            self._reactor.callLater(self.drain + MARGIN, self._kill, each) for each in workers
        ]
        return self._stopped

    def _fire_if_over(self) -> None:
        if self._stopped is not None and not self.all() and not self._stopped.called:
            for call in self._calls:
                if call.active():
                    call.cancel()
            self._stopped.callback(None)

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.all():
            worker.signal(signal.SIGKILL)
