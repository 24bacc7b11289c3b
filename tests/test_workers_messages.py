from __future__ import annotations

import attrs
import pytest

from wsservice.channels import Position
from wsservice.envelopes import Fetched
from wsservice.history import Missed
from wsservice.workers import messages
from wsservice.workers.messages import (
    Frames,
    MessageError,
    Page,
    Publication,
    Stamp,
    framed,
    is_page,
    is_publication,
    page,
    parsed,
    publication,
    said,
)

BODIES = [b"", b"a", b"x" * 70_000, b"{}"]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000, 1_000_000])
def test_bodies_come_as_they_were_framed_however_they_are_cut(size: int) -> None:
    octets = b"".join(map(framed, BODIES))
    frames = Frames()
    bodies = []
    for start in range(0, len(octets), size):
        bodies += frames.feed(octets[start : start + size])
    assert bodies == BODIES


def test_what_is_too_long_is_neither_said_nor_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LONGEST", 10)
    assert Frames().feed(framed(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(MessageError, match="11 octets are more than 10"):
        framed(b"x" * 11)
    with pytest.raises(MessageError, match="11 octets are more than 10"):
        Frames().feed(b"\0\0\0\x0b")


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


def fetched(payload: bytes = b"x", offset: int = 3) -> Fetched:
    return Fetched("n\xe9ws \udcff", offset, "e.1", 1.25, payload, True)


@pytest.mark.parametrize(
    "missed",
    [
        Missed((), Position(0, "e.0"), gap=True),
        Missed([fetched()], Position(3, "e.1")),
        Missed([fetched(b""), fetched(b"\xff" * 1000, 4)], Position(4, "e.1")),
    ],
)
def test_a_page_comes_as_it_was_said(missed: Missed) -> None:
    body = Page(7, "n\xe9ws \udcff", missed).body()
    assert is_page(body)
    assert not is_publication(body)
    answered = page(body)
    assert (answered.request, answered.channel) == (7, "n\xe9ws \udcff")
    assert (answered.missed.position, answered.missed.gap) == (missed.position, missed.gap)
    entries = answered.missed.entries
    assert list(map(attrs.astuple, entries)) == list(map(attrs.astuple, missed.entries))


PAGE = Page(7, "news", Missed([fetched()], Position(3, "e.1"))).body()


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
    assert len(Page(2**31, channel, Missed([entry], place)).body()) <= messages.LONGEST
    stamped = Publication(channel, entry.payload, True, 2**31, Stamp(place, 1.0))
    assert len(stamped.body()) <= messages.LONGEST


def test_anything_else_is_json() -> None:
    body = said("counts", taken=[1, 2], left=[])
    assert not is_publication(body)
    assert parsed(body) == {"say": "counts", "taken": [1, 2], "left": []}


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"say": 1}', b"\xff"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        parsed(body)
