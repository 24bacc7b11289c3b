"""Every promise that is broken is found, and nothing else is."""

from __future__ import annotations

import pytest

from .ledger import Ear, Ledger, Message, Outcome, Stream

ORDER = "order for each channel and publisher"
ONCE = "at most once"
ACCEPTED = "what was accepted comes, or a gap is told"
REFUSED = "what is answered 503 reaches nobody"
IN_ORDER = "once and in order, or a gap"


class Scene:
    """A publisher, and clients, at times that follow each other."""

    def __init__(self, *, lossless: bool = False, forgets: bool = False) -> None:
        self.ledger = Ledger(lossless=lossless, forgets=forgets)
        self.stream: Stream = self.ledger.stream("http-0", "news")
        self.resuming = Ear("resuming-0", "news", resumes=True)
        self.plain = Ear("plain-0", "news", resumes=False)
        self._now = 0.0

    def now(self) -> float:
        self._now += 1.0
        return self._now

    def publish(self, outcome: Outcome | None = Outcome.ACCEPTED) -> Message:
        message = self.ledger.publish(self.stream, self.now())
        if outcome is not None:
            self.ledger.told(message, outcome, self.now())
        return message

    def join(self, offset: int = 0, epoch: str = "e") -> None:
        self.ledger.joined(self.resuming, (epoch, offset), self.now())

    def hear(self, message: Message, offset: int, epoch: str = "e") -> None:
        self.ledger.came(self.resuming, message.text, (epoch, offset), self.now())

    def gap(self, offset: int, epoch: str = "e") -> None:
        self.ledger.gap(self.resuming, (epoch, offset), self.now())

    def hear_plain(self, *messages: Message) -> None:
        for message in messages:
            self.ledger.came(self.plain, message.text, None, self.now())

    @property
    def broken(self) -> dict[str, int]:
        return dict(self.ledger.broken_promises)


def test_all_is_well() -> None:
    scene = Scene(lossless=True)
    scene.join()
    for offset in range(1, 50):
        message = scene.publish()
        scene.hear(message, offset)
        scene.hear_plain(message)
    assert scene.broken == {}
    assert scene.ledger.counts["deliveries"] == 98
    assert scene.ledger.outcomes == {"accepted": 49}


def test_what_came_before_one_joined_need_not_come() -> None:
    scene = Scene()
    first = scene.publish()
    scene.join(offset=1)
    scene.hear(scene.publish(), 2)
    assert scene.broken == {}
    assert not first.heard


def test_an_accepted_message_that_does_not_come() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.publish()
    # It has no place: no hole shows.
    scene.hear(scene.publish(), 2)
    assert scene.broken == {ACCEPTED: 1}
    assert "message 1 of http-0" in scene.ledger.violations[0].what


def test_one_from_the_beginning_on() -> None:
    scene = Scene()
    scene.join()
    scene.publish()
    scene.hear(scene.publish(), 1)
    assert scene.broken == {ACCEPTED: 1}


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.LATE, Outcome.UNKNOWN])
def test_what_is_not_known_to_be_accepted_need_not_come(outcome: Outcome) -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.publish(outcome)
    scene.hear(scene.publish(), 2)
    assert scene.broken == {}


def test_a_gap_covers_what_was_published_before_it() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.publish()
    scene.gap(5)
    scene.hear(scene.publish(), 6)
    assert scene.broken == {}
    assert scene.ledger.counts["gaps"] == 1


def test_a_gap_does_not_cover_what_is_published_after_it() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.gap(5)
    scene.publish()
    scene.hear(scene.publish(), 6)
    assert scene.broken == {ACCEPTED: 1}


def test_a_gap_does_not_cover_what_was_passed_over_before() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.publish()
    scene.hear(scene.publish(), 2)
    scene.gap(5)
    assert scene.broken == {ACCEPTED: 1}


def test_a_gap_where_nothing_can_be_gone() -> None:
    scene = Scene(lossless=True)
    scene.join()
    scene.gap(5)
    assert scene.broken == {"a gap is told where some are gone": 1}


def test_a_refused_message_that_comes() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(Outcome.REFUSED), 1)
    assert scene.broken == {REFUSED: 1}


def test_one_that_came_before_it_was_refused() -> None:
    scene = Scene()
    scene.join()
    message = scene.publish(None)
    scene.hear(message, 1)
    scene.ledger.told(message, Outcome.REFUSED, scene.now())
    assert scene.broken == {REFUSED: 1}


def test_the_same_twice() -> None:
    scene = Scene()
    message = scene.publish()
    scene.hear_plain(message, message)
    assert scene.broken == {ONCE: 1}


def test_the_same_at_two_places() -> None:
    scene = Scene()
    scene.join()
    message = scene.publish()
    scene.hear(message, 1)
    scene.hear(message, 2)
    assert scene.broken == {ONCE: 2}


def test_another_order() -> None:
    scene = Scene()
    first, second, third = scene.publish(), scene.publish(Outcome.HOPED), scene.publish()
    scene.hear_plain(first, third, second)
    assert scene.broken == {ORDER: 1}


@pytest.mark.parametrize("outcome", [Outcome.LATE, Outcome.UNKNOWN])
def test_what_is_not_known_may_come_late_once(outcome: Outcome) -> None:
    scene = Scene()
    first, second, third = scene.publish(), scene.publish(outcome), scene.publish()
    scene.hear_plain(first, third, second)
    assert scene.broken == {}
    assert scene.ledger.counts["late"] == 1
    scene.hear_plain(second)
    assert scene.broken == {ONCE: 1}


def test_two_messages_at_one_place() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    other = Ear("resuming-1", "news", resumes=True)
    scene.ledger.came(other, scene.publish().text, ("e", 1), scene.now())
    assert scene.broken == {"a place is that of one message, on all nodes": 1}


@pytest.mark.parametrize(("epoch", "offset"), [("e", 3), ("e", 0), ("f", 2)])
def test_a_hole_without_a_gap(epoch: str, offset: int) -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.hear(scene.publish(), offset, epoch)
    assert scene.broken == {IN_ORDER: 1}


def test_another_epoch_begins_with_1() -> None:
    scene = Scene()
    scene.join()
    scene.hear(scene.publish(), 1)
    scene.hear(scene.publish(), 1, "f")
    assert scene.broken == {}


def test_who_has_a_place_is_not_joined_anew() -> None:
    scene = Scene()
    scene.join()
    scene.join(3)
    assert scene.broken == {"who comes back goes on": 1}


@pytest.mark.parametrize("text", ["", "nonsense", "0|7|news|", "0|0|news|x", "9|0|news|", "0|0"])
def test_what_nobody_published(text: str) -> None:
    scene = Scene()
    scene.publish()
    scene.ledger.came(scene.plain, text, None, scene.now())
    assert scene.broken == {"what comes was published": 1}


def test_a_message_on_another_channel() -> None:
    scene = Scene()
    elsewhere = Ear("plain-1", "sport", resumes=False)
    scene.ledger.came(elsewhere, scene.publish().text, None, scene.now())
    assert scene.broken == {"what comes was published": 1}


class TestThoseThatArePlain:
    def test_miss_nothing_where_redis_lost_nothing(self) -> None:
        scene = Scene()
        first, _, third = scene.publish(), scene.publish(), scene.publish()
        scene.hear_plain(first, third)
        assert scene.broken == {ACCEPTED: 1}

    def test_may_miss_what_redis_lost(self) -> None:
        scene = Scene()
        first, _ = scene.publish(), scene.publish()
        scene.hear_plain(first)
        scene.ledger.fault(scene.now(), "flushall", loses=True)
        scene.hear_plain(scene.publish())
        assert scene.broken == {}

    def test_or_what_a_small_history_gave_up(self) -> None:
        scene = Scene(forgets=True)
        first, _, third = scene.publish(), scene.publish(), scene.publish()
        scene.hear_plain(first, third)
        assert scene.broken == {}


class TestMessagesThatAreNotAnsweredYet:
    def test_one_that_did_not_come(self) -> None:
        scene = Scene()
        scene.join()
        first, second = scene.publish(None), scene.publish(None)
        scene.hear(second, 1)
        assert scene.broken == {}
        scene.ledger.told(first, Outcome.ACCEPTED, scene.now())
        assert scene.broken == {ACCEPTED: 1}

    def test_one_of_which_it_is_not_known(self) -> None:
        scene = Scene()
        scene.join()
        first, second = scene.publish(None), scene.publish(None)
        scene.hear(second, 1)
        scene.ledger.told(first, Outcome.LATE, scene.now())
        assert scene.broken == {}

    def test_one_that_came_late(self) -> None:
        scene = Scene()
        first, second, third = (scene.publish(None) for _ in range(3))
        scene.hear_plain(first, third, second)
        assert scene.broken == {}
        scene.ledger.told(second, Outcome.ACCEPTED, scene.now())
        assert scene.broken == {ORDER: 1}


def test_of_each_promise_some_are_told_and_all_are_counted() -> None:
    scene = Scene()
    message = scene.publish()
    scene.hear_plain(*[message] * 100)
    assert scene.broken == {ONCE: 99}
    assert 0 < len(scene.ledger.violations) < 10
