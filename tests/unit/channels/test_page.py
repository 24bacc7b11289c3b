from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from wsservice.channels import page as module
from wsservice.channels.history import PAGE, History, Missed
from wsservice.channels.hub import LocalHub
from wsservice.channels.page import MOST_OCTETS, HistoryPage, read_page
from wsservice.channels.query import Latest, Position
from wsservice.errors import HistoryAwayError, HistoryError, NoHistoryError, WSServiceError

from ...examples import examples


def kept(size: int = 1000, octets: int = 100_000_000) -> LocalHub:
    return LocalHub(lambda: 5.0, history=History(size, 0, octets), wall=lambda: 1.7e9)


def published(hub: LocalHub, count: int, first: int = 1) -> None:
    for number in range(first, first + count):
        hub.publish("a", b"%d" % number)


def now(answer: Deferred[HistoryPage]) -> HistoryPage:
    told: list[HistoryPage] = []
    answer.addCallback(told.append)
    return told[0]


def numbers(page: HistoryPage) -> list[int]:
    return [int(each.payload) for each in page.messages]


def test_the_last_are_read_oldest_first() -> None:
    hub = kept()
    published(hub, 300)
    page = now(hub.history("a", limit=200))
    assert numbers(page) == list(range(101, 301))
    assert (page.position.offset, page.gap, page.more) == (300, False, False)
    assert now(hub.history("a")).messages[0].offset == 201
    assert page.messages[0].time == 1.7e9


def test_of_a_channel_on_which_nothing_was_said_there_is_the_place() -> None:
    hub = kept()
    place: list[Position] = []
    hub.position("none").addCallback(place.append)
    assert now(hub.history("none")) == HistoryPage("none", (), place[0])


def test_page_by_page_from_a_position() -> None:
    hub = kept()
    published(hub, 250)
    first = now(hub.history("a", limit=250)).messages[0]
    place: Position | None = Position(0, first.epoch)
    read: list[int] = []
    pages = 0
    more = True
    while more:
        page = now(hub.history("a", limit=100, since=place))
        read += numbers(page)
        place, more = page.position, page.more
        pages += 1
    assert (read, pages) == (list(range(1, 251)), 3)
    page = now(hub.history("a", since=place))
    assert (page.messages, page.position, page.gap, page.more) == ((), place, False, False)


@pytest.mark.parametrize("epoch", ["gone", "ours"])
def test_what_is_gone_is_a_gap_and_what_is_left_is_there(epoch: str) -> None:
    hub = kept(size=100)
    published(hub, 300)
    epoch = now(hub.history("a")).position.epoch if epoch == "ours" else epoch
    page = now(hub.history("a", limit=70, since=Position(1, epoch)))
    assert numbers(page) == list(range(201, 271))
    assert (page.gap, page.more) == (True, True)
    rest = now(hub.history("a", since=page.position))
    assert (numbers(rest), rest.gap, rest.more) == (list(range(271, 301)), False, False)


def test_an_answer_has_a_bound_of_octets_but_one_message_at_least() -> None:
    hub = kept()
    for size in (MOST_OCTETS + 5, 10, MOST_OCTETS - 10, 1):
        hub.publish("a", bytes(size), True)
    sizes = []
    page = now(hub.history("a"))
    while True:
        sizes.append([len(each.payload) for each in page.messages])
        if not page.more:
            break
        page = now(hub.history("a", since=page.position))
    assert sizes == [[MOST_OCTETS + 5], [10, MOST_OCTETS - 10], [1]]


def test_what_cannot_be_asked_raises_at_once() -> None:
    hub = kept()
    for limit in (0, -1, 1001):
        with pytest.raises(ValueError, match="give 1 to 1000"):
            hub.history("a", limit)
    with pytest.raises(ValueError, match="at most 255"):
        hub.history("x" * 256)
    with pytest.raises(NoHistoryError, match="no history is kept; give --history"):
        LocalHub().history("a")
    assert issubclass(NoHistoryError, HistoryError | RuntimeError)
    assert issubclass(HistoryAwayError, WSServiceError)


def test_it_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        now(kept().history("a")).gap = True  # type: ignore[misc]


def answers(*parts: Missed) -> list[HistoryPage | BaseException]:
    """Return the outcome of reading a history that answers so, one part for each question."""
    left = iter(parts)
    told: list[HistoryPage | BaseException] = []

    def missed(_channel: str, _since: Position | Latest) -> Deferred[Missed]:
        return succeed(next(left))

    reading = Deferred.fromCoroutine(read_page(missed, "a", 10, Position(3, "e")))
    reading.addCallbacks(told.append, lambda failure: told.append(failure.value))
    return told


def test_one_that_cannot_be_read_is_an_error() -> None:
    (error,) = answers(Missed((), Position(0, ""), gap=True))
    assert isinstance(error, HistoryAwayError)


def test_gaps_without_end_come_to_an_end() -> None:
    gaps = [Missed((), Position(number, "e"), gap=True) for number in range(20)]
    (page,) = answers(*gaps)
    assert isinstance(page, HistoryPage)
    assert (page.messages, page.gap) == ((), True)


def test_as_json_text_and_octets_are_told_apart() -> None:
    hub = kept()
    hub.publish("a", "gr\u00fc\u00df dich".encode())
    hub.publish("a", b"\x00\xff", True)
    hub.publish("a", b"\xff")
    said = now(hub.history("a")).as_json()
    assert said["messages"] == [
        {"offset": 1, "time": 1.7e9, "data": "gr\u00fc\u00df dich"},
        {"offset": 2, "time": 1.7e9, "data64": "AP8="},
        {"offset": 3, "time": 1.7e9, "data": "\ufffd"},
    ]
    assert (said["channel"], said["offset"], said["gap"], said["next"]) == ("a", 3, False, None)
    assert now(hub.history("a", limit=1, since=Position(0, said["epoch"]))).as_json()["next"] == 1


@examples(200)
@given(st.integers(1, 300), st.integers(0, 400), st.integers(1, 300), st.integers(0, 400))
def test_whatever_is_asked_the_pages_have_each_message_once(
    size: int, count: int, limit: int, start: int
) -> None:
    hub = kept(size=size)
    published(hub, count)
    latest = now(hub.history("a", limit))
    assert numbers(latest) == list(range(1 + count - min(limit, size, count), count + 1))
    since = Position(min(start, count), latest.position.epoch)
    page = now(hub.history("a", limit, since))
    assert page.gap == (since.offset < count - min(size, count))
    read = numbers(page)
    while page.more:
        page = now(hub.history("a", limit, page.position))
        assert not page.gap
        read += numbers(page)
    assert read == list(range(max(since.offset, count - min(size, count)) + 1, count + 1))


def test_the_bounds_are_those_of_the_documents() -> None:
    assert (module.MOST_MESSAGES, MOST_OCTETS, module.ANSWER_SECONDS) == (1000, 2**20, 10)
    assert PAGE < module.MOST_MESSAGES
