from __future__ import annotations

import pytest

from wsservice.channels.history import Missed
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.workers.wire import messages
from wsservice.workers.wire.framing import LONGEST, MessageError
from wsservice.workers.wire.messages import (
    MissedPage,
    Publication,
    Stamp,
    is_publication,
    page,
    publication,
)


@pytest.mark.parametrize(
    "each",
    [
        Publication("news", b"hello"),
        Publication("", b""),
        Publication("n\xe9ws/\N{SNOWMAN}", b"\x00\xff", True, 7),
        Publication("lone \udcff surrogate", b"x", False, 2**32 - 1),
        Publication("news", b"", True, 7, Stamp(Position(0, ""), 0.0, False)),
        Publication("n\xe9ws", b"x", False, 0, Stamp(Position(2**63, "e" * 64), 1.25)),
    ],
)
def test_a_publication_comes_as_it_was_said(each: Publication) -> None:
    body = each.body()
    assert is_publication(body)
    assert publication(body) == each


NOTHING = Publication("", b"", stamp=Stamp(Position(1, "epoch"), 1.0)).body()


@pytest.mark.parametrize(
    "body",
    [
        *(b"p", b"p" + bytes(12) + b"\x05abc", b"p" + bytes(12) + b"\x01\xff"),
        *(NOTHING[:-1], NOTHING[:-6], NOTHING[:-5] + b"\xff" * 5),
    ],
)
def test_a_publication_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match="publication"):
        publication(body)


def fetched(payload: bytes = b"x", offset: int = 3) -> ChannelMessage:
    return ChannelMessage("n\xe9ws \udcff", payload, True, 1.25, offset, "e.1")


@pytest.mark.parametrize(
    "missed",
    [
        Missed((), Position(0, "e.0"), gap=True),
        Missed([fetched()], Position(3, "e.1")),
        Missed([fetched(b""), fetched(b"\xff" * 1000, 4)], Position(4, "e.1")),
    ],
)
def test_a_page_comes_as_it_was_said(missed: Missed) -> None:
    body = MissedPage(7, "n\xe9ws \udcff", missed).body()
    assert not is_publication(body)
    answered = page(body)
    assert (answered.request, answered.channel) == (7, "n\xe9ws \udcff")
    assert (answered.missed.position, answered.missed.gap) == (missed.position, missed.gap)
    entries = answered.missed.entries
    assert list(entries) == list(missed.entries)


PAGE = MissedPage(7, "news", Missed([fetched()], Position(3, "e.1"))).body()


@pytest.mark.parametrize(
    "body",
    [b"h", b"h" + bytes(8), PAGE[:-1], PAGE + b"x", PAGE.replace(b"gap", b"gab")],
)
def test_a_page_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match="page"):
        page(body)


def test_the_longest_that_is_kept_can_be_said_in_any_case() -> None:
    entry = fetched(bytes(messages.LONGEST_KEPT - 16384))
    channel = "\N{SNOWMAN}" * (16384 // 3)
    place = Position(2**53, "e" * 64)
    assert len(MissedPage(2**31, channel, Missed([entry], place)).body()) <= LONGEST
    stamped = Publication(channel, entry.payload, True, 2**31, Stamp(place, 1.0))
    assert len(stamped.body()) <= LONGEST


def test_figures_are_as_documented() -> None:
    assert messages.MARGIN == 5
