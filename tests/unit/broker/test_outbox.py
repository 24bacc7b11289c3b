from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wsservice.broker import outbox as outboxes
from wsservice.broker.outbox import Outbox
from wsservice.broker.queued import QueuedMessage
from wsservice.broker.standing import MisplacedError, Standing
from wsservice.channels.message import ChannelMessage
from wsservice.errors import Away, NotPublishedError, Refused, UncertainError, Unknown

from ...support import Logged


class Link:
    up = True
    problem: str | None = None

    def __str__(self) -> str:
        return "redis://x"


class Sent:
    """An outbox, and what it sent."""

    def __init__(self, room: int = 0) -> None:
        self.link = Link()
        self.clock = Clock()
        self.no_room = False
        #: What was sent and not answered yet: the number, the payload, and its answer.
        self.open: list[tuple[int, bytes, Deferred[int]]] = []
        self.publications: list[QueuedMessage] = []
        self.outbox = Outbox(self.link, self.clock, self._transmit, room)

    def _transmit(self, publication: QueuedMessage) -> Deferred[int]:
        if not self.link.up or self.no_room:
            return fail(Away("away"))
        answer: Deferred[int] = Deferred()
        self.publications = [*self.publications[-2:], publication]
        self.open.append((publication.sequence, publication.message.payload, answer))
        return answer

    def put(self, payload: bytes) -> bool:
        return self.outbox.put(QueuedMessage(ChannelMessage("a", payload)))

    def ask(self, payload: bytes) -> list[Any]:
        """Publish a message, and return a list for its outcome."""
        became: list[Any] = []
        publication = QueuedMessage(ChannelMessage("a", payload), Deferred())
        assert publication.done is not None
        publication.done.addBoth(became.append)
        self.outbox.expect(publication)
        self.outbox.put(publication)
        return became

    @property
    def numbers(self) -> list[tuple[int, bytes]]:
        return [(number, payload) for number, payload, _ in self.open]

    def answer(self, nodes: int = 1) -> None:
        self.open.pop(0)[2].callback(nodes)

    def fail(self, error: Exception) -> None:
        """All that was sent comes to this."""
        opened, self.open = self.open, []
        for _, _, answer in opened:
            answer.errback(error)

    def go_down(self) -> None:
        # As a link does: it is said of each call before the link is down.
        self.fail(Unknown("lost"))
        self.link.up, self.link.problem = False, "refused"

    def come_up(self) -> None:
        self.link.up, self.link.problem = True, None
        self.outbox.flush()


def kind(became: list[Any]) -> Any:
    return became[0].type if hasattr(became[0], "type") else became[0]


def test_each_has_a_number_and_is_told_how_many_heard_it() -> None:
    sent = Sent()
    first, second = sent.ask(b"1"), sent.ask(b"2")
    assert sent.numbers == [(1, b"1"), (2, b"2")]
    sent.answer(3)
    sent.answer(0)
    assert (first, second) == ([3], [0])
    assert sent.outbox.counted.published == 2
    assert sent.clock.getDelayedCalls() == []


def test_while_it_is_away_nothing_is_published() -> None:
    sent = Sent()
    sent.go_down()
    became = sent.ask(b"1")
    assert kind(became) is NotPublishedError
    assert str(became[0].value) == "it was published to nobody; broker redis://x: refused"
    assert not sent.put(b"2")
    sent.come_up()
    assert sent.open == []
    assert sent.outbox.counted.refused == 2


def test_nor_where_a_link_has_no_room() -> None:
    sent = Sent()
    sent.no_room = True
    assert kind(sent.ask(b"1")) is NotPublishedError
    sent.no_room = False
    # No number was taken that nobody has seen.
    sent.put(b"2")
    assert [payload for _, payload in sent.numbers] == [b"2"]


def test_what_may_have_been_published_is_sent_again_under_its_number_before_all_else() -> None:
    sent = Sent(room=5)
    first, second = sent.ask(b"1"), sent.ask(b"2")
    sent.go_down()
    third = sent.ask(b"3")
    assert (first, second, third) == ([], [], [])
    sent.clock.advance(1)
    sent.come_up()
    assert sent.numbers == [(1, b"1"), (2, b"2"), (3, b"3")]
    for _ in range(3):
        sent.answer(-1)
    assert (first, second, third) == ([-1], [-1], [-1])
    assert sent.outbox.counted.resent == 2
    assert sent.outbox.waiting == 0


def test_what_is_put_while_others_are_to_be_sent_again_does_not_overtake_them() -> None:
    sent = Sent(room=5)
    sent.put(b"1")
    sent.fail(Unknown("late"))
    sent.put(b"2")
    assert sent.open == []
    sent.clock.advance(0.1)
    assert sent.numbers == [(1, b"1"), (2, b"2")]


def test_whoever_waits_for_too_long_is_told_what_is_known() -> None:
    sent = Sent(room=5)
    under_way = sent.ask(b"under way")
    sent.clock.advance(1)
    sent.go_down()
    waits = sent.ask(b"waits")
    sent.clock.advance(outboxes.PATIENCE)
    assert kind(under_way) is UncertainError
    assert kind(waits) is NotPublishedError
    # And nothing is published afterwards of what they may try again.
    sent.come_up()
    assert sent.open == []


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    sent = Sent()
    became = sent.ask(b"1")
    sent.clock.advance(outboxes.PATIENCE)
    assert kind(became) is UncertainError
    sent.answer()
    assert len(became) == 1


def test_what_nobody_waits_for_is_sent_again_for_a_while() -> None:
    sent = Sent()
    sent.put(b"1")
    sent.put(b"2")
    sent.go_down()
    sent.clock.advance(outboxes.DOUBTED / 2)
    sent.come_up()
    assert sent.numbers == [(1, b"1"), (2, b"2")]
    sent.answer()
    sent.go_down()
    sent.clock.advance(outboxes.DOUBTED)
    sent.come_up()
    assert sent.open == []
    assert sent.outbox.counted.uncertain == 1


def test_the_buffer_is_bounded_by_count_and_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    least = QueuedMessage(ChannelMessage("a", b"")).octets
    monkeypatch.setattr(outboxes, "MOST_OCTETS", 2 * least + 91)
    sent = Sent(room=2)
    sent.go_down()
    assert [sent.put(payload) for payload in (b"x" * 90, b"x" * 20, b"1", b"2")] == [
        True,
        False,
        True,
        False,
    ]
    assert sent.outbox.waiting == 2
    sent.come_up()
    assert sent.numbers == [(1, b"x" * 90), (2, b"1")]
    # There is room for as much again.
    sent.fail(Refused("OOM no", "OOM"))
    sent.go_down()
    assert sent.put(b"x" * (least + 91))


@pytest.mark.parametrize("channel", ["", "a" * 255, "\U0001f600" + "a" * 251])
def test_what_waits_takes_what_is_counted(monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    sent = Sent(room=10_000)
    sent.go_down()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(1000):
        # As each message does that came over HTTP, it brings a name of its own.
        message = QueuedMessage(ChannelMessage((channel + "b")[:-1], b"%d" % number))
        assert sent.outbox.put(message)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    monkeypatch.setattr(outboxes, "MOST_OCTETS", int(used / 1.1))
    assert not sent.put(b"one more")


def test_who_gave_up_leaves_room() -> None:
    sent = Sent(room=1)
    sent.go_down()
    sent.ask(b"1")
    assert not sent.put(b"2")
    sent.clock.advance(outboxes.PATIENCE)
    assert sent.put(b"3")


def test_what_is_refused_is_published_to_nobody_and_why_is_known_until_one_is_taken() -> None:
    sent = Sent(room=5)
    became = sent.ask(b"1")
    sent.fail(Refused("OOM it is full", "OOM"))
    assert kind(became) is NotPublishedError
    assert sent.outbox.problem == "OOM it is full"
    sent.put(b"2")
    sent.answer()
    assert sent.outbox.problem is None


def test_a_while_after_one_was_refused_nobody_knows() -> None:
    sent = Sent()
    sent.put(b"1")
    sent.fail(Refused("OOM it is full", "OOM"))
    sent.clock.advance(outboxes.TROUBLED)
    assert sent.outbox.problem == "OOM it is full"
    sent.clock.advance(1)
    assert sent.outbox.problem is None


def test_a_server_that_is_replaced_is_waited_for_where_there_is_room() -> None:
    for room, outcome in ((5, [1]), (0, NotPublishedError)):
        sent = Sent(room)
        became = sent.ask(b"1")
        sent.fail(Refused("READONLY", "READONLY"))
        sent.link.up = False
        sent.clock.advance(1)
        sent.come_up()
        if room:
            # It was not published, so that its number may be another.
            assert [payload for _, payload in sent.numbers] == [b"1"]
            sent.answer()
        assert (became if room else kind(became)) == outcome


def test_what_is_refused_after_it_may_have_been_published_is_not_known() -> None:
    sent = Sent()
    became = sent.ask(b"1")
    sent.fail(Unknown("late"))
    sent.clock.advance(0.1)
    sent.fail(Refused("OOM", "OOM"))
    assert kind(became) is UncertainError


def test_an_answer_that_makes_no_sense_is_no_answer() -> None:
    sent = Sent()
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        became = sent.ask(b"1")
        sent.fail(ValueError("nonsense"))
    finally:
        globalLogPublisher.removeObserver(logged)
    assert kind(became) is UncertainError
    assert "an answer to a message" in logged.text


def test_a_link_that_takes_no_more_for_now_is_tried_again() -> None:
    sent = Sent(room=5)
    sent.no_room = True
    assert sent.put(b"1")
    sent.clock.advance(0.1)
    assert sent.open == []
    sent.no_room = False
    sent.clock.advance(0.1)
    assert [payload for _, payload in sent.numbers] == [b"1"]
    # So too where what is sent again finds no room: nothing overtakes it.
    sent.fail(Unknown("late"))
    sent.no_room = True
    sent.put(b"2")
    sent.clock.advance(0.1)
    sent.no_room = False
    sent.clock.advance(0.1)
    assert [payload for _, payload in sent.numbers] == [b"1", b"2"]


def test_what_is_lost_is_said_now_and_then() -> None:
    sent = Sent()
    sent.clock.advance(1)
    logged = Logged()
    globalLogPublisher.addObserver(logged)
    try:
        sent.go_down()
        for _ in range(5):
            sent.put(b"1")
        sent.clock.advance(20)
        sent.put(b"1")
    finally:
        globalLogPublisher.removeObserver(logged)
    assert logged.text.count("a message is lost") == 2
    assert "so far 6 were published to nobody" in logged.text


def test_at_the_end_nothing_waits_any_more() -> None:
    sent = Sent(room=5)
    under_way = sent.ask(b"1")
    sent.go_down()
    waits = sent.ask(b"2")
    sent.outbox.close()
    assert kind(under_way) is UncertainError
    assert kind(waits) is NotPublishedError
    assert sent.clock.getDelayedCalls() == []


def test_what_came_while_others_were_sent_again_is_not_lost_with_the_connection() -> None:
    sent = Sent()
    sent.put(b"1")
    sent.put(b"2")
    # Redis takes none before it has said where it stands, and has answered the first only.
    sent.open.pop(0)[2].errback(MisplacedError(Standing(b"L", 0)))
    assert sent.put(b"3")
    sent.go_down()
    assert not sent.put(b"4")
    sent.come_up()
    assert sent.numbers == [(1, b"1"), (2, b"2"), (3, b"3")]
    sent.go_down()
    sent.clock.advance(outboxes.DOUBTED + 1)
    sent.come_up()
    assert sent.open == []


def test_each_comes_after_the_one_before_it() -> None:
    sent = Sent()
    for payload in (b"1", b"2", b"3"):
        sent.put(payload)
    assert [publication.after.last for publication in sent.publications] == [0, 1, 2]
    sent.fail(MisplacedError(Standing(b"L", 0)))
    assert [each.after for each in sent.publications] == [Standing(b"L", n) for n in range(3)]
    sent.answer()
    # The second finds no script, so that the third comes too early; a fourth waits for both.
    sent.open[1][2].errback(MisplacedError(Standing(b"L", 1)))
    assert sent.put(b"4")
    assert sent.numbers == [(2, b"2"), (3, b"3")]
    del sent.open[1]
    sent.answer()
    assert sent.numbers == [(3, b"3"), (4, b"4")]
    assert [each.after for each in sent.publications[-2:]] == [
        Standing(b"L", 2),
        Standing(b"L", 3),
    ]


@pytest.mark.parametrize(
    ("standing", "outcome"),
    [
        (Standing(b"L", 2), [-1]),
        (Standing(b"L", 3), [-1]),
        (Standing(b"L", 1), [1]),
        (Standing(b"L", 0), UncertainError),
        (Standing(b"L", 99), UncertainError),
        (Standing(b"M", 2), UncertainError),
    ],
)
def test_where_redis_stands_tells_what_became_of_one_in_doubt(
    standing: Standing, outcome: Any
) -> None:
    sent = Sent()
    sent.put(b"1")
    sent.fail(MisplacedError(Standing(b"L", 0)))
    sent.answer()
    became = sent.ask(b"2")
    sent.put(b"3")
    sent.go_down()
    sent.come_up()
    for _ in sent.open[:]:
        sent.open.pop(0)[2].errback(MisplacedError(standing))
    while sent.open:
        sent.answer()
    assert (became if isinstance(outcome, list) else kind(became)) == outcome
    assert sent.outbox.counted.poisoned == (standing.last in (0, 99))
