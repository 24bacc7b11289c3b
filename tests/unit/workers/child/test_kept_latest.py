"""The last messages first, in a worker whose parent keeps the history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.channels.history import PAGE
from wsservice.channels.keeping import Keeps
from wsservice.channels.page import ANSWER_SECONDS, HistoryPage
from wsservice.config.keep import Keep
from wsservice.errors import HistoryAwayError
from wsservice.workers.wire.messages import MissedPage, Publication, page
from wsservice.workers.wire.reports import AskHistory

from ....examples import examples
from ....support import BINARY, CLOSE, TEXT, Client
from .test_kept import Service, said


def kept(size: int = 1000) -> Service:
    service = Service(size=size)
    service.hub.keeps = Keeps(Keep(size, 0))
    return service


def payloads(client: Client) -> list[bytes]:
    return [payload for opcode, payload in client.frames() if opcode in (TEXT, BINARY)]


def test_they_come_first_then_what_comes() -> None:
    service = kept()
    for _ in range(5):
        service.say_one()
    client = service.plain("/a?history=3")
    service.say_one()
    assert payloads(client) == []
    service.settle()
    service.say_one()
    service.settle()
    assert payloads(client) == [b"4", b"5", b"6", b"7"]


def test_one_answer_is_enough_so_that_a_last_value_comes_however_fast_it_changes() -> None:
    service = kept(size=1)
    service.say_one()
    client = service.plain("/a?history=1")
    asked = 0
    for _ in range(20):
        while service.up:
            service.up.popleft()()
            asked += 1
        service.say_one()  # between each question and the next one
        service.say_one()
        while service.down:
            service.down.popleft()()
        service.clock.advance(0)
    came = payloads(client)
    assert came == [b"%d" % number for number in range(int(came[0]), 42)]
    assert asked == 2  # of the channel, and of its last message
    assert client.protocol.state == client.protocol.STATE_OPEN


def test_those_who_ask_the_same_share_one_answer() -> None:
    service = kept()
    for _ in range(5):
        service.say_one()
    clients = [service.plain("/a?history=2") for _ in range(250)]
    assert sum(1 for _ in service.up) <= 2
    service.settle()
    service.say_one()
    service.settle()
    assert all(payloads(client) == [b"4", b"5", b"6"] for client in clients)


def test_those_who_get_it_a_turn_later_miss_nothing_that_came_meanwhile() -> None:
    service = kept()
    for _ in range(5):
        service.say_one()
    clients = [service.plain("/a?history=2") for _ in range(150)]
    while service.up:
        service.up.popleft()()
    service.say_one()  # right behind the answer, which fifty get in the next turn
    service.settle()
    assert all(payloads(client) == [b"4", b"5", b"6"] for client in clients)


def test_an_envelope_tells_the_place_before_them() -> None:
    service = kept()
    for _ in range(3):
        service.say_one()
    client = service.speak("/a?history=2")
    service.settle()
    assert [(each["offset"], each.get("joined", False)) for each in said(client)] == [
        (1, True),
        (2, False),
        (3, False),
    ]


def test_a_parent_of_an_earlier_build_gives_no_past_and_does_no_harm() -> None:
    service = kept()
    service.say_one()
    client = service.plain("/a?history=2")
    while service.up:
        service.up.popleft()()
    service.down.clear()
    # Such a parent reads neither `latest` nor writes `whole`.
    service.keeping.asked(service, AskHistory(1, "a", None))
    service.settle()
    service.say_one()
    service.settle()
    assert payloads(client) == [b"2"]


def test_that_a_page_is_whole_goes_over_the_bus() -> None:
    service = kept()
    service.say_one()
    service.keeping.asked(service, AskHistory(1, "a", None, 5))
    pages: list[Any] = []
    service.hub.answered = pages.append  # type: ignore[method-assign, assignment]
    service.settle()
    assert pages[0].missed.whole
    body = pages[0].body()
    assert page(body) == pages[0]
    assert not page(MissedPage(1, "a", pages[0].missed.later()).body()).missed.whole
    with_none = body.replace(b', "whole": true', b"")
    size = int.from_bytes(body[1:5], "big") - len(body) + len(with_none)
    assert not page(body[:1] + size.to_bytes(4, "big") + with_none[5:]).missed.whole


class TestHistory:
    def test_a_behaviour_gets_them_from_the_parent(self) -> None:
        service = kept()
        for _ in range(PAGE + 10):
            service.say_one()
        told: list[HistoryPage] = []
        service.hub.history("a", limit=PAGE + 5).addCallback(told.append)
        service.settle()
        (got,) = told
        assert [int(each.payload) for each in got.messages] == list(range(6, PAGE + 11))
        assert (got.gap, got.more, got.position) == (False, False, service.history.position("a"))

    def test_a_parent_that_does_not_answer_is_an_error(self) -> None:
        service = kept()
        failed: list[Any] = []
        service.hub.history("a").addErrback(failed.append)
        service.clock.advance(ANSWER_SECONDS - 1)
        assert not failed
        service.clock.advance(1)
        assert failed[0].check(HistoryAwayError)
        assert failed[0].getErrorMessage() == "the history did not answer within 10 s"
        service.settle()  # a late answer is nobody's

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_wrong_limit_raises_at_once(self, limit: int) -> None:
        with pytest.raises(ValueError, match=f"limit {limit} is not allowed; give 1 to 1000"):
            kept().hub.history("a", limit)


STEPS = st.lists(
    st.sampled_from(
        [
            *("publish", "publish", "up", "up", "down", "down", "turn", "many"),
            *("join", "speak", "leave", "full", "room", "by a worker", "pause", "resume"),
        ]
    ),
    max_size=80,
)


@examples(300)
@given(STEPS, st.integers(1, 100))
def test_however_it_goes_each_comes_once_and_in_order(steps: list[str], count: int) -> None:
    service = kept(size=10_000)
    plain: list[Client] = []
    speaking: list[Client] = []

    def by_worker() -> None:
        # Its number is known when it is with the parent, as that of all others.
        service.up.append(service.say_one)

    def one(those: deque[Callable[[], None]]) -> None:
        if those:
            those.popleft()()

    def room(full: bool) -> None:
        service.full = full

    def last(act: str) -> None:
        for client in (plain[-1:] or speaking[-1:]) if act == "pause" else plain + speaking:
            getattr(client.protocol, f"{act}Producing")()

    def many() -> None:
        for _ in range(PAGE):
            service.say_one()

    does: dict[str, Callable[[], Any]] = {
        "publish": service.say_one,
        "many": many,
        "by a worker": by_worker,
        "up": lambda: one(service.up),
        "down": lambda: one(service.down),
        "turn": lambda: service.clock.advance(0),
        "join": lambda: plain.append(service.plain(f"/a?history={count}")),
        "speak": lambda: speaking.append(service.speak(f"/a?history={count}")),
        "leave": lambda: service.plain(f"/a?history={count}").lose(),
        "full": lambda: room(True),
        "room": lambda: room(False),
        "pause": lambda: last("pause"),
        "resume": lambda: last("resume"),
    }
    for step in steps:
        does[step]()
    last("resume")
    service.settle()
    service.full = False
    service.say_one()
    service.settle()
    end = service.history.position("a").offset
    for client in plain:
        frames = client.frames()
        assert not any(opcode == CLOSE for opcode, _ in frames)
        numbers = [int(payload) for _, payload in frames]
        assert numbers == list(range(numbers[0], end + 1))
    for client in speaking:
        joined, *rest = said(client)
        offsets = [each["offset"] for each in rest]
        assert joined["joined"]
        assert offsets == list(range(joined["offset"] + 1, end + 1))
        assert [int(each["data"]) for each in rest] == offsets


def test_it_takes_what_the_parent_publishes_meanwhile() -> None:
    service = kept()
    service.keep(Publication("a", b"\xff", True))
    client = service.plain("/a?history=5")
    service.settle()
    assert client.frames() == [(BINARY, b"\xff")]
