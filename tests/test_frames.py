"""The codec, by itself; against Autobahn's state machine it is held in test_reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.frames import (
    FOREIGN,
    PARTIAL,
    STOPPED,
    PartialFrame,
    decode,
    encode,
    frame_size,
)

KEY = b"\x01\x02\x03\x04"
TEXT, BINARY = 0x81, 0x82
SIZES = [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, 65537]


def payloads(buffer: bytes, *, masked: bool = True, limit: int = 0, most: int = 99) -> list[bytes]:
    return [payload for payload, _, _ in decode(buffer, 0, masked, limit, most)[0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", [b"", KEY])
def test_what_is_encoded_is_decoded(size: int, key: bytes) -> None:
    payload = bytes(i % 251 for i in range(size))
    frame = encode(BINARY, payload, key)
    assert decode(frame, 0, bool(key), 0, 1) == ([(payload, True, len(frame))], STOPPED)
    assert frame_size(frame, 0) == len(frame)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_masked_payload_is_its_octets_xored_with_the_key(payload: bytes, key: bytes) -> None:
    masked = encode(BINARY, payload, key)[-len(payload) :] if payload else b""
    assert masked == bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_cut_anywhere_is_partial_and_never_foreign(size: int) -> None:
    frame = encode(BINARY, bytes(size), KEY)
    cuts = [*range(min(len(frame), 20)), len(frame) - 1]
    assert all(decode(frame[:cut], 0, True, 0, 1) == ([], PARTIAL) for cut in cuts)


def test_a_frame_size_is_unknown_until_its_header_is_whole() -> None:
    frame = encode(BINARY, bytes(70000), KEY)
    assert [frame_size(frame[:n], 0) for n in range(14)] == [0] * 14
    assert frame_size(frame[:14], 0) == 70014


@pytest.mark.parametrize(
    "first", [0x01, 0x02, 0x00, 0x80, 0x83, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0xC1, 0xC2, 0xA1, 0x91]
)
def test_all_but_whole_uncompressed_data_frames_are_foreign(first: int) -> None:
    assert decode(encode(first, b"hi", KEY), 0, True, 0, 1) == ([], FOREIGN)


def test_a_frame_masked_the_wrong_way_is_foreign() -> None:
    assert decode(encode(TEXT, b"hi"), 0, True, 0, 1) == ([], FOREIGN)
    assert decode(encode(TEXT, b"hi", KEY), 0, False, 0, 1) == ([], FOREIGN)


@pytest.mark.parametrize(
    "header",
    [
        bytes((BINARY, 126, 0, 125)),
        bytes((BINARY, 127)) + (65535).to_bytes(8, "big"),
        bytes((BINARY, 127)) + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_a_length_not_in_the_shortest_form_or_over_63_bits_is_foreign(header: bytes) -> None:
    assert decode(header + bytes(200), 0, False, 0, 1) == ([], FOREIGN)
    assert frame_size(header, 0) == len(header)


def test_a_frame_over_the_limit_is_foreign_as_soon_as_its_header_is_there() -> None:
    frame = encode(BINARY, bytes(101), KEY)
    assert decode(frame[:6], 0, True, 100, 1) == ([], FOREIGN)
    assert payloads(encode(BINARY, bytes(100), KEY), limit=100) == [bytes(100)]


@pytest.mark.parametrize(
    "text", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82"]
)
def test_text_that_is_not_utf8_is_foreign_and_binary_is_not(text: bytes) -> None:
    assert decode(encode(TEXT, text, KEY), 0, True, 0, 1) == ([], FOREIGN)
    assert payloads(encode(BINARY, text, KEY)) == [text]


def test_messages_before_a_foreign_frame_are_decoded() -> None:
    buffer = encode(TEXT, b"one", KEY) + encode(BINARY, b"two", KEY) + encode(0x89, b"", KEY)
    messages, stopped = decode(buffer, 0, True, 0, 9)
    assert messages == [(b"one", False, 9), (b"two", True, 18)]
    assert stopped == FOREIGN
    assert decode(buffer, 18, True, 0, 9) == ([], FOREIGN)


def test_no_more_messages_are_decoded_than_wanted() -> None:
    buffer = encode(TEXT, b"x", KEY) * 5
    assert decode(buffer, 0, True, 0, 2) == ([(b"x", False, 7), (b"x", False, 14)], STOPPED)
    assert payloads(buffer) == [b"x"] * 5


@given(st.text(max_size=200), st.data())
def test_a_frame_put_together_from_any_parts_is_the_payload(text: str, data: st.DataObject) -> None:
    payload = text.encode()
    frame = encode(TEXT, payload, KEY)
    partial = PartialFrame(frame, 0)
    position = partial.header_size
    while not partial.whole:
        until = data.draw(st.integers(position + 1, len(frame)))
        position = partial.feed(frame[:until], position)
        assert partial.valid
    assert partial.payload == payload
    assert not partial.isBinary


def test_a_partial_frame_takes_no_more_than_its_own() -> None:
    frame = encode(BINARY, b"1234567890", KEY)
    partial = PartialFrame(frame[:8], 0)
    assert partial.feed(frame[:8], partial.header_size) == 8
    assert partial.feed(frame[8:] + b"next", 0) == 8
    assert partial.whole
    assert partial.payload == b"1234567890"


def test_text_that_cannot_become_utf8_is_known_before_the_frame_is_whole() -> None:
    frame = encode(TEXT, b"good\xffbad" + bytes(1000), KEY)
    partial = PartialFrame(frame, 0)
    partial.feed(frame[:10], partial.header_size)
    assert partial.valid
    partial.feed(frame[10:14], 0)
    assert not partial.valid


def test_text_that_ends_within_a_code_point_is_not_valid() -> None:
    frame = encode(TEXT, b"abc\xe2\x82", KEY)
    partial = PartialFrame(frame, 0)
    partial.feed(frame, partial.header_size)
    assert partial.whole
    assert not partial.valid


@pytest.mark.parametrize("wrong", [b"\xed\xa0", b"\xed\xbf", b"\xf4\x90", b"\xe0\x80", b"\xc0"])
def test_what_cannot_become_a_code_point_is_known_at_the_octet_that_proves_it(wrong: bytes) -> None:
    frame = encode(TEXT, b"good" + wrong + bytes(1000), KEY)
    partial = PartialFrame(frame, 0)
    end = partial.header_size + len(b"good") + len(wrong)
    partial.feed(frame[: end - 1], partial.header_size)
    assert partial.valid
    partial.feed(frame[end - 1 : end], 0)
    assert not partial.valid


def test_the_last_code_point_before_the_surrogates_is_valid_octet_by_octet() -> None:
    frame = encode(TEXT, "\ud7ff".encode(), KEY)
    partial = PartialFrame(frame, 0)
    for position in range(partial.header_size, len(frame)):
        partial.feed(frame[position : position + 1], 0)
        assert partial.valid
    assert partial.payload.decode() == "\ud7ff"
