"""Each codec, by itself, and the choice between them.

They are held against each other in test_alike, and against Autobahn's
state machine in test_reading.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.protocol.frames import FOREIGN, PARTIAL, STOPPED

from ....codecs import BUILT, load

KEY = b"\x01\x02\x03\x04"
TEXT, BINARY = 0x81, 0x82
SIZES = [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, 65537]


def payloads(codec: Any, buffer: bytes, *, limit: int = 0) -> list[bytes]:
    return [payload for payload, _, _ in codec.decode(buffer, 0, True, limit, 99)[0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", [b"", KEY])
def test_what_is_encoded_is_decoded(codec: Any, size: int, key: bytes) -> None:
    payload = bytes(i % 251 for i in range(size))
    frame = codec.encode(BINARY, payload, key)
    assert codec.decode(frame, 0, bool(key), 0, 1) == ([(payload, True, len(frame))], STOPPED)
    assert codec.frame_size(frame, 0) == len(frame)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_masked_payload_is_its_octets_xored_with_the_key(payload: bytes, key: bytes) -> None:
    for codec in map(load, BUILT):
        masked = codec.encode(BINARY, payload, key)[6 if len(payload) < 126 else 8 :]
        assert masked == bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_cut_anywhere_is_partial_and_never_foreign(codec: Any, size: int) -> None:
    frame = codec.encode(BINARY, bytes(size), KEY)
    cuts = [*range(min(len(frame), 20)), len(frame) - 1]
    assert all(codec.decode(frame[:cut], 0, True, 0, 1) == ([], PARTIAL) for cut in cuts)


def test_a_frame_size_is_unknown_until_its_header_is_whole(codec: Any) -> None:
    frame = codec.encode(BINARY, bytes(70000), KEY)
    assert [codec.frame_size(frame[:n], 0) for n in range(14)] == [0] * 14
    assert codec.frame_size(frame[:14], 0) == 70014


@pytest.mark.parametrize(
    "first", [0x01, 0x02, 0x00, 0x80, 0x83, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0xC1, 0xC2, 0xA1, 0x91]
)
def test_all_but_whole_uncompressed_data_frames_are_foreign(codec: Any, first: int) -> None:
    assert codec.decode(codec.encode(first, b"hi", KEY), 0, True, 0, 1) == ([], FOREIGN)


def test_a_frame_masked_the_wrong_way_is_foreign(codec: Any) -> None:
    assert codec.decode(codec.encode(TEXT, b"hi"), 0, True, 0, 1) == ([], FOREIGN)
    assert codec.decode(codec.encode(TEXT, b"hi", KEY), 0, False, 0, 1) == ([], FOREIGN)


@pytest.mark.parametrize(
    "header",
    [
        bytes((BINARY, 126, 0, 125)),
        bytes((BINARY, 127)) + (65535).to_bytes(8, "big"),
        bytes((BINARY, 127)) + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_a_length_not_in_the_shortest_form_or_over_63_bits_is_foreign(
    codec: Any, header: bytes
) -> None:
    assert codec.decode(header + bytes(200), 0, False, 0, 1) == ([], FOREIGN)
    assert codec.frame_size(header, 0) == len(header)


def test_a_frame_over_the_limit_is_foreign_as_soon_as_its_header_is_there(codec: Any) -> None:
    frame = codec.encode(BINARY, bytes(101), KEY)
    assert codec.decode(frame[:6], 0, True, 100, 1) == ([], FOREIGN)
    assert payloads(codec, codec.encode(BINARY, bytes(100), KEY), limit=100) == [bytes(100)]


@pytest.mark.parametrize(
    "text",
    [
        *(b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82"),
        b"1234567\xc3 or more\xa9",  # a code point with a word of ASCII in it
    ],
)
def test_text_that_is_not_utf8_is_foreign_and_binary_is_not(codec: Any, text: bytes) -> None:
    assert codec.decode(codec.encode(TEXT, text, KEY), 0, True, 0, 1) == ([], FOREIGN)
    assert payloads(codec, codec.encode(BINARY, text, KEY)) == [text]


def test_messages_before_a_foreign_frame_are_decoded(codec: Any) -> None:
    buffer = (
        codec.encode(TEXT, b"one", KEY)
        + codec.encode(BINARY, b"two", KEY)
        + codec.encode(0x89, b"", KEY)
    )
    messages, stopped = codec.decode(buffer, 0, True, 0, 9)
    assert messages == [(b"one", False, 9), (b"two", True, 18)]
    assert stopped == FOREIGN
    assert codec.decode(buffer, 18, True, 0, 9) == ([], FOREIGN)


ODD = {
    "not UTF-8": (TEXT, b"\xff", True),
    "long": (BINARY, bytes(200), True),
    "not masked": (TEXT, b"x", False),
    "control": (0x89, b"ping", True),
    "over the limit": (TEXT, b"x" * 100, True),
}


@given(
    st.lists(st.text(max_size=12) | st.binary(max_size=12), min_size=9, max_size=40),
    st.sampled_from(sorted(ODD)),
    st.data(),
)
def test_what_is_decoded_together_is_decoded_as_one_by_one(
    many: list[str | bytes], odd: str, data: st.DataObject
) -> None:
    reference = load("python")
    frames = [
        reference.encode(TEXT, each.encode(), KEY)
        if isinstance(each, str)
        else reference.encode(BINARY, each, KEY)
        for each in many
    ]
    first, payload, masked = ODD[odd]
    odd_one = reference.encode(first, payload, KEY if masked else b"")
    frames.insert(data.draw(st.integers(0, len(frames))), odd_one)
    buffer = b"before" + b"".join(frames)
    buffer = buffer[: data.draw(st.integers(6, len(buffer)))]
    limit = data.draw(st.sampled_from([0, 60]))
    for codec in map(load, BUILT):
        singly, start = [], 6
        while (outcome := codec.decode(buffer, start, True, limit, 1))[0]:
            singly += outcome[0]
            start = outcome[0][-1][2]
        assert codec.decode(buffer, 6, True, limit, 99) == (singly, outcome[1])
        assert codec.decode(buffer, 6, True, limit, 11)[0] == singly[:11]


def test_no_more_messages_are_decoded_than_wanted(codec: Any) -> None:
    buffer = codec.encode(TEXT, b"x", KEY) * 5
    assert codec.decode(buffer, 0, True, 0, 2) == ([(b"x", False, 7), (b"x", False, 14)], STOPPED)
    assert payloads(codec, buffer) == [b"x"] * 5


@given(st.text(max_size=200), st.data())
def test_a_frame_put_together_from_any_parts_is_the_payload(text: str, data: st.DataObject) -> None:
    payload = text.encode()
    for codec in map(load, BUILT):
        frame = codec.encode(TEXT, payload, KEY)
        partial = codec.PartialFrame(frame, 0)
        position = partial.header_size
        while not partial.whole:
            assert partial.left == len(frame) - position
            until = data.draw(st.integers(position + 1, len(frame)))
            position = partial.feed(frame[:until], position)
            assert partial.valid
        assert partial.left == 0
        assert partial.payload == payload
        assert not partial.isBinary


def test_a_partial_frame_takes_no_more_than_its_own(codec: Any) -> None:
    frame = codec.encode(BINARY, b"1234567890", KEY)
    partial = codec.PartialFrame(frame[:8], 0)
    assert partial.feed(frame[:8], partial.header_size) == 8
    assert partial.feed(frame[8:] + b"next", 0) == 8
    assert partial.whole
    assert partial.payload == b"1234567890"


def test_text_that_cannot_become_utf8_is_known_before_the_frame_is_whole(codec: Any) -> None:
    frame = codec.encode(TEXT, b"good\xffbad" + bytes(1000), KEY)
    partial = codec.PartialFrame(frame, 0)
    partial.feed(frame[:10], partial.header_size)
    assert partial.valid
    partial.feed(frame[10:14], 0)
    assert not partial.valid


def test_text_that_ends_within_a_code_point_is_not_valid(codec: Any) -> None:
    frame = codec.encode(TEXT, b"abc\xe2\x82", KEY)
    partial = codec.PartialFrame(frame, 0)
    partial.feed(frame, partial.header_size)
    assert partial.whole
    assert not partial.valid


@pytest.mark.parametrize("wrong", [b"\xed\xa0", b"\xed\xbf", b"\xf4\x90", b"\xe0\x80", b"\xc0"])
def test_what_cannot_become_a_code_point_is_known_at_the_octet_that_proves_it(
    codec: Any, wrong: bytes
) -> None:
    frame = codec.encode(TEXT, b"good" + wrong + bytes(1000), KEY)
    partial = codec.PartialFrame(frame, 0)
    end = partial.header_size + len(b"good") + len(wrong)
    partial.feed(frame[: end - 1], partial.header_size)
    assert partial.valid
    partial.feed(frame[end - 1 : end], 0)
    assert not partial.valid


def test_the_last_code_point_before_the_surrogates_is_valid_octet_by_octet(codec: Any) -> None:
    frame = codec.encode(TEXT, "\ud7ff".encode(), KEY)
    partial = codec.PartialFrame(frame, 0)
    for position in range(partial.header_size, len(frame)):
        partial.feed(frame[position : position + 1], 0)
        assert partial.valid
    assert partial.payload.decode() == "\ud7ff"


def huge(codec: Any, claimed: int) -> Any:
    return codec.PartialFrame(bytes((BINARY, 127)) + claimed.to_bytes(8, "big"), 0)


@pytest.mark.parametrize("claimed", [1 << 30, 1 << 62, (1 << 63) - 1])
def test_no_more_memory_is_taken_than_came_whatever_a_header_claims(
    codec: Any, claimed: int
) -> None:
    tracemalloc.start()
    partial = huge(codec, claimed)
    for _ in range(100):
        assert partial.feed(bytes(1000), 0) == 1000
    assert partial.payload == bytes(100_000)
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()
    assert partial.valid
    assert not partial.whole


def test_nothing_is_left_of_what_was_read_or_refused(codec: Any) -> None:
    def work() -> None:
        buffer = codec.encode(TEXT, b"x" * 300, KEY) + codec.encode(TEXT, b"x" * 300 + b"\xff", KEY)
        codec.decode(buffer, 0, True, 0, 9)
        partial = codec.PartialFrame(buffer, 0)
        for start in range(0, 300, 30):
            partial.feed(buffer[: start + 30], start)
        for wrong in ((buffer, -1), (buffer, "0"), (b"", 0)):
            with pytest.raises((TypeError, ValueError)):
                codec.PartialFrame(*wrong)

    work()
    references = sys.getrefcount(codec.PartialFrame)
    tracemalloc.start()
    for _ in range(200):
        work()
    # Errors leave cycles, of which some may be there still: of 200 that is few.
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] < 100_000
    tracemalloc.stop()
    assert sys.getrefcount(codec.PartialFrame) < references + 100


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("decode", (None, 0, True, 0, 1)),
        ("decode", (b"", "0", True, 0, 1)),
        ("decode", (bytes(9), 0, True, 0, "1")),
        ("decode", (b"", 0, True, 0)),
        ("frame_size", (None, 0)),
        ("frame_size", (b"", None)),
        ("frame_size", (b"",)),
        ("mask", ("text", KEY)),
        ("mask", (b"text", None)),
        ("encode", (TEXT, "text")),
        ("encode", (TEXT, "text", KEY)),
        ("encode", (TEXT, b"text", "key1")),
        ("encode", ("T", b"text")),
        ("encode", (TEXT,)),
        ("encode", (TEXT, b"", KEY, KEY)),
        ("PartialFrame", (None, 0)),
        ("PartialFrame", (bytes(9), "0")),
        ("PartialFrame", (bytes(9),)),
    ],
)
def test_arguments_of_a_wrong_type_or_number_raise(
    codec: Any, function: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(TypeError):
        getattr(codec, function)(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("decode", (bytes(9), -1, True, 0, 1)),
        ("frame_size", (bytes(9), -(1 << 70))),
        ("mask", (b"text", b"123")),
        ("encode", (TEXT, b"text", b"12345")),
        ("encode", (256, b"text")),
        ("encode", (-1, b"text")),
        ("PartialFrame", (bytes(9), -1)),
        ("PartialFrame", (bytes(9), 8)),
        ("PartialFrame", (bytes(9), 1 << 70)),
        ("PartialFrame", (bytes((BINARY, 126, 0, 125)), 0)),
    ],
)
def test_arguments_that_make_no_sense_raise(
    codec: Any, function: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        getattr(codec, function)(*arguments)


def test_parameters_have_no_names(codec: Any) -> None:
    with pytest.raises(TypeError):
        codec.frame_size(buffer=b"", start=0)
    with pytest.raises(TypeError):
        codec.PartialFrame(bytes(9), start=0)


def test_a_partial_frame_is_not_fed_with_nonsense(codec: Any) -> None:
    partial = huge(codec, 70000)
    for wrong in ((None, 0), (b"", None), (b"",), (b"", 0, 0)):
        with pytest.raises(TypeError):
            partial.feed(*wrong)
    with pytest.raises(ValueError, match="negative"):
        partial.feed(b"x", -1)
    assert partial.payload == b""


def test_behind_the_end_of_a_buffer_there_is_nothing(codec: Any) -> None:
    for start in (3, 4, 1 << 70):
        assert codec.decode(b"\x82\x01x", start, False, 0, 9) == ([], PARTIAL)
        assert codec.frame_size(b"\x82\x01x", start) == 0
        partial = huge(codec, 70000)
        assert partial.feed(b"abc", start) == 3
        assert partial.payload == b""


def chosen(environment: str | None, before: str = "") -> tuple[str, str]:
    """Return the codec of a new interpreter, and the last line of its standard error."""
    variables = {name: value for name, value in os.environ.items() if name != "WSSERVICE_NATIVE"}
    if environment is not None:
        variables["WSSERVICE_NATIVE"] = environment
    code = (
        f"import sys; {before}\n"
        "from wsservice.protocol import frames\n"
        "print(frames.CODEC, frames.decode.__module__, frames.PartialFrame.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.stderr.strip().rpartition("\n")[2]


PYTHON = "python wsservice.protocol.frames._python wsservice.protocol.frames._python"
NATIVE = "native wsservice.protocol.frames._native wsservice.protocol.frames._native"
NOT_BUILT = "sys.modules['wsservice.protocol.frames._native'] = None"


def test_the_native_codec_is_chosen_where_there_is_one() -> None:
    load("native")
    assert chosen(None) == chosen("1") == (NATIVE, "")


def test_the_native_codec_can_be_turned_off() -> None:
    assert chosen("0") == (PYTHON, "")


def test_the_other_is_chosen_where_the_native_codec_is_not_built() -> None:
    assert chosen(None, NOT_BUILT) == (PYTHON, "")


def test_a_native_codec_that_is_required_and_not_there_is_an_error_of_one_line() -> None:
    said, error = chosen("1", NOT_BUILT)
    assert said == ""
    assert error.startswith("ImportError: WSSERVICE_NATIVE=1, but the native codec is missing: ")
