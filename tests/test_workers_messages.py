from __future__ import annotations

import pytest

from wsservice.workers import messages
from wsservice.workers.messages import (
    Frames,
    MessageError,
    Publication,
    framed,
    is_publication,
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
    ],
)
def test_a_publication_comes_as_it_was_said(each: Publication) -> None:
    body = each.body()
    assert is_publication(body)
    assert publication(body) == each


@pytest.mark.parametrize("body", [b"p", b"p\0\0\0\0\0\0\0\0\x05abc", b"p\0\0\0\0\0\0\0\0\x01\xff"])
def test_a_publication_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match="publication"):
        publication(body)


def test_anything_else_is_json() -> None:
    body = said("counts", taken=[1, 2], left=[])
    assert not is_publication(body)
    assert parsed(body) == {"say": "counts", "taken": [1, 2], "left": []}


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"say": 1}', b"\xff"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        parsed(body)
