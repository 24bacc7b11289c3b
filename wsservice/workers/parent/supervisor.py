"""The supervisor of workers: it starts them, restarts dead or stuck ones, and stops them."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ...channels.message import ChannelMessage
from ...channels.outcome import Published
from ...channels.presence import PresenceQuestions
from ...clock import monotonic_of
from ...escape import escape
from ...server.admission import Admission
from ..wire.coding import BusQuestion
from ..wire.messages import MARGIN, QUESTIONS_AT_ONCE
from ..wire.orders import DrainWorker, PingWorker
from ..wire.reports import AskHistory, AskPresence, AskSeat, AskTicket
from .history import Keeping
from .presence import PresenceAnswers, of_workers
from .process import State, Worker, WorkerOwner
from .relay import Relay
from .requests import WITHIN, Requests, Unanswered
from .seats import UserSeats
from .sharing import SILENT, Sharing
from .tickets import TicketAnswers

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
"""The longest delay, in seconds, before a dead worker is started again. It doubles up to this."""

_STABLE = 10.0
"""Seconds of serving after which a worker's earlier failures no longer count."""

_ATTEMPTS = 5
"""The number of failures in a row, while no worker serves, after which the service ends."""

TICK = 1.0
"""Seconds between two pings of each worker."""

_STUCK = 10
"""The number of unanswered pings in a row after which a worker is killed. A time would be wrong:
while the parent itself is stuck, its workers cannot answer."""

_LONGEST_START = 60
"""The largest number of ticks that a worker may take to start."""

T = TypeVar("T")

_log = Logger(namespace="wsservice")


@attrs.define(eq=False)
class Slot:
    """The place of one worker, with the current worker and its replacement."""

    number: int
    current: Worker | None = None
    following: Worker | None = None
    failures: int = 0
    since: float | None = None
    """The time at which its worker began to serve, in seconds; None if it does not serve."""
    restart: IDelayedCall | None = None


class WorkersWatcher(Protocol):
    """The receiver of the workers' reports, such as the admin face."""

    def figures_of(self, worker: Worker, figures: Mapping[str, Any]) -> None:
        """Take the last figures of a worker."""

    def traced(self, number: int, event: str | None) -> None:
        """Take an event of a trace."""

    def lost(self, worker: Worker) -> None:
        """Forget a worker that is gone."""


class Supervisor(WorkerOwner):
    """The workers of a service, `count` of them, each made by `make`.

    `drain` is `Config.drain`, in seconds. `keeping` is the history, None without one. `give_up` is
    called with the problem if no worker can be started, `when_ready` once all serve for the first
    time.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[int, WorkerOwner], Worker],
        reactor: Any,
        give_up: Callable[[str], None],
        when_ready: Callable[[], None],
        drain: float,
        keeping: Keeping | None = None,
    ) -> None:
        self.drain = drain
        self.keeping = keeping
        #: The receiver of the workers' reports, None without one.
        self.watcher: WorkersWatcher | None = None
        #: The number of workers that ended without an order.
        self.lost = 0
        self._dropped = 0
        self.sharing: Sharing | None = None
        self.slots = [Slot(number) for number in range(1, count + 1)]
        self.leaving: list[Worker] = []
        self._ages: dict[Worker, int] = {}
        self._make = make
        self._reactor = reactor
        self._monotonic = monotonic_of(reactor)
        self._give_up = give_up
        self._when_ready = when_ready
        self._all_were_ready = False
        self._requests = Requests(reactor)
        self._relay = Relay(self.serving, self._requests, keeping)
        #: Answers workers' questions about the connections on a channel.
        self.presence = PresenceAnswers(
            PresenceQuestions(of_workers(self), QUESTIONS_AT_ONCE, reactor).ask
        )
        #: The seats of users, in all workers.
        self.seats = UserSeats()
        #: The tickets of the service, None where workers claim them elsewhere.
        self.tickets: TicketAnswers | None = None
        self._failures = 0
        self._given_up = False
        self._rolling: list[Slot] | None = None
        self._stopped: Deferred[None] | None = None
        self._calls: list[IDelayedCall] = []

    # The workers

    def ready_workers(self) -> list[Worker]:
        """Return the workers that may be handed connections."""
        found = [slot.current for slot in self.slots]
        return [each for each in found if each is not None and each.state is State.READY]

    def serving(self) -> list[Worker]:
        """Return the workers that may have connections."""
        return self.ready_workers() + [each for each in self.leaving if each.state is State.LEAVING]

    def all(self) -> list[Worker]:
        """Return all workers that have a process."""
        places = [each for slot in self.slots for each in (slot.current, slot.following)]
        return [each for each in [*places, *self.leaving] if each is not None]

    # Start

    def start(self) -> None:
        """Start all workers."""
        for slot in self.slots:
            self._start(slot)
        self._calls = [self._reactor.callLater(TICK, self._tick)]

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
        slot.since = self._monotonic()
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
            if self.sharing.is_open:
                self.sharing.put_back(worker)
            self.sharing.left(list(worker.connections.values()))
        self.seats.left(worker.connections.values())
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
                if self._monotonic() - slot.since >= _STABLE:
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
            return  # the replacement takes its place
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2**slot.failures)
        slot.failures = min(slot.failures + 1, 16)
        delay = random.uniform(longest / 2, longest)  # noqa: S311
        slot.restart = self._reactor.callLater(delay, self._start, slot)

    # Replacing

    def roll(self) -> None:
        """Replace all workers, one after another. No client is refused meanwhile."""
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
        """Make a worker close its connections, and end."""
        self.leaving.append(worker)
        if worker.state is State.READY and self.sharing is not None:
            worker.state = State.LEAVING
            self.sharing.put_back(worker)
            worker.bus.say(DrainWorker(roll=True))
        else:
            worker.signal(signal.SIGKILL)
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self._reactor.callLater(self.drain + MARGIN, self._kill, worker))

    def _kill(self, worker: Worker) -> None:
        if worker.state is not State.OVER:
            _log.error("{worker}: does not end, and is killed", worker=str(worker))
            worker.signal(signal.SIGKILL)

    # Checks that workers are alive

    def _tick(self) -> None:
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self._reactor.callLater(TICK, self._tick))
        for worker in self.all():
            if worker.state is State.STARTING:
                self._ages[worker] = self._ages.get(worker, 0) + 1
                if self._ages[worker] == _LONGEST_START:
                    worker.problem = f"did not begin within {_LONGEST_START * TICK:g} s"
                    worker.signal(signal.SIGKILL)
                continue
            worker.silence += 1
            worker.bus.hasten(PingWorker())
            if worker.silence == SILENT and self.sharing is not None:
                self.sharing.put_back(worker)
            if worker.silence == _STUCK:
                worker.problem = f"did not answer for {_STUCK * TICK:g} s, and was killed"
                worker.signal(signal.SIGKILL)

    def counted(self, worker: Worker, left: Sequence[Admission]) -> None:
        if self.sharing is not None:
            self.sharing.left(left)
        self.seats.left(left)
        self._resume()

    def _resume(self) -> None:
        if self.sharing is not None and self.sharing.is_open:
            self.sharing.resume()

    # Publishing

    def published(self, worker: Worker, body: bytes) -> None:
        self._relay.published(worker, body)

    def asked(self, worker: Worker, message: AskHistory) -> None:
        if self.keeping is not None:
            self.keeping.asked(worker, message)

    def presence_asked(self, worker: Worker, message: AskPresence) -> None:
        self.presence.asked(worker, message)

    def seat_asked(self, worker: Worker, message: AskSeat) -> None:
        self.seats.asked(worker, message)

    def ticket_asked(self, worker: Worker, message: AskTicket) -> None:
        if self.tickets is not None:
            self.tickets.asked(worker, message)

    def came_and_left(self, worker: Worker, came: Sequence[str], left: Sequence[str]) -> None:
        if self.keeping is not None:
            self.keeping.came_and_left(worker, came, left)

    @property
    def dropped(self) -> int:
        """Return the number of publications that were dropped on their way to a worker."""
        refused = 0 if self.keeping is None else self.keeping.refused
        return self._dropped + sum(worker.bus.dropped for worker in self.all()) + refused

    # Reports and requests

    def figures_of(self, worker: Worker, figures: Mapping[str, Any]) -> None:
        if self.watcher is not None:
            self.watcher.figures_of(worker, figures)

    def traced(self, number: int, event: str | None) -> None:
        if self.watcher is not None:
            self.watcher.traced(number, event)

    def ask(
        self, workers: Sequence[Worker], question: BusQuestion[T], within: float = WITHIN
    ) -> Deferred[list[T | Unanswered]]:
        """Ask workers a question: see `Requests.ask`."""
        return self._requests.ask(workers, question, within)

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        """Publish a message: see `Relay.deliver`."""
        return self._relay.deliver(message)

    # The end

    def stop(self) -> Deferred[None]:
        """Make all workers close their connections, and end. Fire when all have ended."""
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
                worker.bus.say(DrainWorker(roll=False))
        self._calls = [
            self._reactor.callLater(self.drain + MARGIN, self._kill, each) for each in workers
        ]
        self._fire_if_over()
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
