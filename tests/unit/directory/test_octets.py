from __future__ import annotations

import random

import pytest

from wsservice.directory.octets import KEPT, Frame, FrameReader

from ...support import BINARY, CLOSE, PING, TEXT, close_payload, frame

STREAM = b"".join(
    [
        frame(TEXT, b"hello"),
        frame(BINARY, bytes(range(256)) * 3),
        frame(TEXT, b""),
        frame(TEXT, b"frag", fin=False),
        frame(0, b"ment"),
        frame(PING, b"p"),
        frame(BINARY, b"z" * 70_000),
        frame(CLOSE, close_payload(1000, b"bye")),
    ]
)
SEEN = [
    Frame(TEXT, True, 5, b"hello", False),
    Frame(BINARY, True, 768, bytes(range(256)) * 3, False),
    Frame(TEXT, True, 0, b"", False),
    Frame(TEXT, False, 4, b"frag", False),
    Frame(0, True, 4, b"ment", False),
    Frame(PING, True, 1, b"p", False),
    Frame(BINARY, True, 70_000, b"z" * KEPT, False),
    Frame(CLOSE, True, 5, close_payload(1000, b"bye"), False),
]


def test_all_frames_are_found_in_one_piece() -> None:
    assert FrameReader().feed(STREAM) == SEEN
    assert [each.is_cut for each in SEEN] == [False] * 6 + [True, False]


@pytest.mark.parametrize("seed", range(5))
def test_however_the_octets_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    reader, found, position = FrameReader(), [], 0
    while position < len(STREAM):
        size = chance.choice([1, 2, 5, 13, 1000, 40_000])
        found += reader.feed(STREAM[position : position + size])
        position += size
    assert found == SEEN


def test_octet_by_octet() -> None:
    short = STREAM[:800]
    reader = FrameReader()
    found = [each for octet in short for each in reader.feed(bytes([octet]))]
    assert found == SEEN[:3]


def test_what_belongs_to_no_frame_is_skipped() -> None:
    reader = FrameReader(7)
    assert reader.feed(b"rest") == []
    assert reader.feed(b"abc" + frame(TEXT, b"x")) == [Frame(TEXT, True, 1, b"x", False)]


def test_a_mask_is_taken_off() -> None:
    masked = bytes([0x81, 0x82, 1, 2, 3, 4, ord("h") ^ 1, ord("i") ^ 2])
    assert FrameReader().feed(masked) == [Frame(TEXT, True, 2, b"hi", False)]


def test_unmasked_and_compressed_ones() -> None:
    assert FrameReader().feed(b"\xc1\x01x") == [Frame(TEXT, True, 1, b"x", True)]


def test_a_length_that_makes_no_sense_raises_nothing() -> None:
    assert FrameReader().feed(b"\x81\x7f" + b"\xff" * 20) == []
    assert FrameReader().feed(b"\x81\x7e\x00\x01x") == [Frame(TEXT, True, 1, b"x", False)]
