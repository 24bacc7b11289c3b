from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsservice.broker import framing
from wsservice.broker.framing import FramingError
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position

MOST = 1000


def numbered(rest: bytes, offset: int = 7, epoch: bytes = b"E.1") -> bytes:
    """As the script has it, which knows the place."""
    return b"1 %d %s 5500 %s" % (offset, epoch, rest)


@given(st.binary(max_size=50), st.booleans(), st.integers(1, 2**53 - 1))
def test_what_is_framed_is_heard(payload: bytes, is_binary: bool, sequence: int) -> None:
    if not is_binary:
        payload = payload.decode("latin-1").encode()
    body = framing.body(b"node-1", sequence, payload, is_binary)
    heard = framing.heard("news", framing.framed(body, 5.5), MOST)
    assert heard.message == ChannelMessage("news", payload, is_binary, 5.5)
    assert (heard.message.position, heard.node, heard.sequence) == (None, b"node-1", sequence)
    kept = framing.heard("news", numbered(body), MOST)
    assert kept.message.position == Position(7, "E.1")
    entry = framing.kept("news", "E.1", b"7-5500", body, MOST)
    assert entry == kept.message == ChannelMessage("news", payload, is_binary, 5.5, 7, "E.1")
    assert body.startswith(framing.mark(heard))


def test_no_mark_is_the_beginning_of_anothers() -> None:
    marks = []
    for sequence in (1, 12, 2):
        body = framing.body(b"n", sequence, b"2", False)
        marks.append(framing.mark(framing.heard("a", framing.framed(body, 0), MOST)))
        assert [body.startswith(mark) for mark in marks] == [False] * (len(marks) - 1) + [True]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "head"),
        (b"2 0 - 5 t n 1\nx", "head"),
        (b"1 0 - 5 t n 1 x", "head"),
        (b"1 0 - 5 x n 1\nx", "head"),
        (b"1 0 - -5 t n 1\nx", "head"),
        (b"1 7 E\n1 5 t n 1\nx", "head"),
        (b"1 7 " + b"E" * 65 + b" 5 t n 1\nx", "head"),
        (b"1 0 - 5 t " + b"n" * 41 + b" 1\nx", "head"),
        (b"1 0 E.1 5 t n 1\nx", "offset is 0"),
        (b"1 9007199254740992 E.1 5 t n 1\nx", "too large"),
        (b"1 0 - 5 t n 9007199254740992\nx", "too large"),
        (b"1 0 - 5 t n 1\n\xff", "not UTF-8"),
        (b"1 0 - 5 t n 1\n" + b"x" * 1001, "larger than 1000 octets"),
    ],
)
def test_what_is_no_message_is_said_to_be_none(octets: bytes, why: str) -> None:
    with pytest.raises(FramingError, match=why):
        framing.heard("news", octets, MOST)


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        (b"7", b"t n 1\nx"),
        (b"7-5-5", b"t n 1\nx"),
        (b"9007199254740992-5", b"t n 1\nx"),
        (b"7-5", b""),
        (b"7-5", b"t n\nx"),
        (b"7-5", b"t n 1\n\xff"),
        (b"7-5", b"b n 1\n" + b"x" * 1001),
    ],
)
def test_nor_is_an_entry(name: bytes, rest: bytes) -> None:
    with pytest.raises(FramingError):
        framing.kept("news", "E.1", name, rest, MOST)


@given(st.binary(max_size=100))
@example(b"1 0 - 5 t n 1\n")
def test_whatever_comes_it_is_a_message_or_an_error(octets: bytes) -> None:
    for read in (
        lambda: framing.heard("news", octets, MOST),
        lambda: framing.kept("news", "E.1", octets, octets, MOST),
    ):
        with contextlib.suppress(FramingError):
            read()


def test_what_is_to_be_sent_is_looked_at_before() -> None:
    framing.check(b"\xff", True, MOST)
    framing.check("é".encode(), False, MOST)
    with pytest.raises(FramingError, match="UTF-8"):
        framing.check(b"\xff", False, MOST)
    with pytest.raises(FramingError, match="1000"):
        framing.check(b"x" * 1001, False, MOST)
