from __future__ import annotations

from typing import Any

from wsservice.channels.history import PAGE, History
from wsservice.channels.keeping import Keeps
from wsservice.channels.query import Position
from wsservice.config.keep import Keep
from wsservice.workers.parent import history as module
from wsservice.workers.parent.history import Keeping
from wsservice.workers.wire.coding import BusMessage
from wsservice.workers.wire.framing import TooLongError
from wsservice.workers.wire.messages import MissedPage, Publication, page, publication
from wsservice.workers.wire.orders import DeliveryLost
from wsservice.workers.wire.reports import AskHistory

from ....support import Logged


class Worker:
    """A worker that keeps what it is told and answered."""

    def __init__(self) -> None:
        self.bus = self
        self.said: list[Any] = []
        self.pages: list[MissedPage] = []

    def say(self, message: BusMessage) -> None:
        if isinstance(message, MissedPage):
            self.pages.append(page(message.body()))
        else:
            self.said.append(message)


class Kept:
    """A history of a service, and what workers do with it."""

    def __init__(self, size: int = 1000, seconds: float = 0, octets: int = 10_000_000) -> None:
        self.now = 5.0
        self.history = History(size, seconds, octets)
        self.keeping = Keeping(self.history, lambda: self.now, lambda: 1.8e9)

    def publish(self, payload: bytes = b"x", channel: str = "a") -> Position:
        stamped = self.keeping.stamped(Publication(channel, payload, True))
        assert stamped is not None
        assert stamped.stamp is not None
        return stamped.stamp.position

    def ask(self, worker: Worker, since: Position | None = None, channel: str = "a") -> Any:
        given = None if since is None else (since.offset, since.epoch)
        self.keeping.asked(worker, AskHistory(7, channel, given))
        answered = worker.pages.pop()
        assert (answered.request, answered.channel) == (7, channel)
        return answered.missed


def test_a_message_gets_its_place_and_time() -> None:
    kept = Kept()
    message = Publication("a", b"x", True, 9)
    stamped = kept.keeping.stamped(message)
    assert stamped is not None
    stamp = stamped.stamp
    assert stamp is not None
    assert (stamped.channel, stamped.payload, stamped.binary, stamped.request) == (
        "a",
        b"x",
        True,
        9,
    )
    assert (stamp.position, stamp.time, stamp.kept) == (
        kept.history.position("a"),
        1_800_000_000,
        True,
    )
    assert kept.publish().offset == 2


def test_one_that_alone_is_too_large_has_a_place_and_is_not_there() -> None:
    kept = Kept(octets=65536)
    stamped = kept.keeping.stamped(Publication("a", bytes(65536)))
    assert stamped is not None
    assert stamped.stamp is not None
    assert not stamped.stamp.kept
    assert kept.history.messages == 0


def test_one_that_is_too_long_for_the_bus_reaches_nobody(logged: Logged, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LONGEST_KEPT", 10)
    kept = Kept()
    assert kept.keeping.stamped(Publication("abc", b"12345678")) is None
    assert kept.keeping.stamped(Publication("abc", b"1234567")) is not None
    assert kept.keeping.refused == 1
    assert "a message of 11 octets reaches nobody: workers take up to 10" in logged.text


def test_who_asks_is_told_where_a_channel_is_and_what_came_there() -> None:
    kept, worker = Kept(), Worker()
    before = kept.ask(worker).position
    assert before == kept.history.position("a")
    assert kept.ask(worker, before).entries == []
    kept.publish(b"1")
    place = kept.publish(b"2")
    missed = kept.ask(worker, before)
    assert [each.payload for each in missed.entries] == [b"1", b"2"]
    assert missed.position == place
    assert not missed.gap
    assert kept.ask(worker, Position(1, "another")).gap


def test_a_page_is_bounded_in_messages_and_octets() -> None:
    kept, worker = Kept(), Worker()
    start = kept.ask(worker).position
    for _ in range(PAGE + 1):
        kept.publish(bytes(1000))
    assert len(kept.ask(worker, start).entries) == PAGE
    start = kept.history.position("a")
    for size in (100_000, 100_000, 100_000, 300_000, 1):
        kept.publish(bytes(size))
    sizes = []
    while (missed := kept.ask(worker, start)).entries:
        sizes.append([len(each.payload) for each in missed.entries])
        start = missed.position
    assert sizes == [[100_000, 100_000], [100_000], [300_000], [1]]


def test_a_page_that_is_too_long_is_a_gap(logged: Logged) -> None:
    class Short(Worker):
        def say(self, message: BusMessage) -> None:
            if len(message.body()) > 1000:
                raise TooLongError("2,000 octets are more than 1,000")
            super().say(message)

    kept = Kept()
    kept.keeping.stamped(Publication("a", b"x" * 2000))
    position = kept.keeping.history.position("a")
    worker = Short()
    kept.keeping.asked(worker, AskHistory(5, "a", (0, position.epoch)))
    (answered,) = worker.pages
    missed = answered.missed
    assert (missed.position, missed.gap, list(missed.entries)) == (position, True, [])
    assert "cannot send a worker the messages it missed" in logged.text


def test_what_is_too_old_is_gone() -> None:
    kept, worker = Kept(seconds=10), Worker()
    start = kept.ask(worker).position
    kept.publish()
    kept.now = 15.0
    assert kept.ask(worker, start).gap


def test_a_channel_that_somebody_is_on_is_not_forgotten() -> None:
    kept, worker, other = Kept(seconds=10), Worker(), Worker()
    for each in (worker, other):
        kept.keeping.came_and_left(each, ["a"], [])
    place = kept.publish()
    for last in (worker, other):
        kept.now += 20
        kept.publish(channel="b")
        assert kept.history.position("a") == place
        kept.keeping.gone(last)
    kept.now += 20
    kept.publish(channel="b")
    assert kept.history.position("a").epoch != place.epoch


class TestLost:
    def test_who_is_on_the_channel_is_told_until_it_asks(self) -> None:
        kept, worker, other = Kept(), Worker(), Worker()
        kept.keeping.came_and_left(worker, ["a", "b"], [])
        for channel in ("a", "a", "b", "c", "a"):
            kept.keeping.dropped(worker, channel)
            kept.keeping.dropped(other, channel)
        assert worker.said == [DeliveryLost("a"), DeliveryLost("b")]
        assert other.said == []
        worker.said.clear()
        kept.ask(worker)
        for channel in "ab":
            kept.keeping.dropped(worker, channel)
        assert worker.said == [DeliveryLost("a")]

    def test_of_a_channel_that_its_last_has_left_it_is_not(self) -> None:
        kept, worker = Kept(), Worker()
        kept.keeping.came_and_left(worker, ["a"], [])
        kept.keeping.dropped(worker, "a")
        kept.keeping.came_and_left(worker, [], ["a"])
        kept.keeping.dropped(worker, "a")
        assert worker.said == [DeliveryLost("a")]
        kept.keeping.came_and_left(worker, ["a"], [])
        kept.keeping.dropped(worker, "a")
        assert worker.said == [DeliveryLost("a")] * 2

    def test_one_that_is_over_leaves_nothing_behind(self) -> None:
        kept, worker = Kept(), Worker()
        kept.keeping.came_and_left(worker, ["a"], [])
        kept.keeping.dropped(worker, "a")
        kept.keeping.gone(worker)
        assert kept.keeping._occupied == kept.keeping._told == {}


def test_on_a_channel_of_which_nothing_is_kept_messages_have_no_place() -> None:
    kept = Kept()
    kept.history.keeping = Keeps(Keep(10, 0.0), [("none.*", Keep(0, 0.0))])
    worker = Worker()
    kept.keeping.came_and_left(worker, ["none.1", "a"], [])
    stamped = kept.keeping.stamped(Publication("none.1", b"x", True))
    assert stamped is not None
    again = publication(stamped.body())
    assert again.stamp is not None
    assert (again.stamp.position, again.stamp.kept) == (Position(0, ""), False)
    assert again.stamp.time == 1_800_000_000
    # Nobody could fetch what was lost on its way.
    kept.keeping.dropped(worker, "none.1")
    assert worker.said == []
    kept.keeping.dropped(worker, "a")
    assert worker.said == [DeliveryLost("a")]
