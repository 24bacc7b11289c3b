"""The native codec against the one in Python: the same octets, the same cuts, the same results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.protocol.frames import _python

from ....codecs import CONTRACT, load
from ....examples import examples


@pytest.fixture(scope="module")
def native() -> Any:
    return load("native")


keys = st.binary(min_size=4, max_size=4)
EDGES = bytes.fromhex("007f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")
texts = st.one_of(
    st.text(max_size=60).map(str.encode),
    st.text("abc \x7f\x80\u07ff\u0800\ud7ff\ue000\U00010000\U0010ffff").map(str.encode),
    # Every way to be no UTF-8 is near one of these octets.
    st.lists(st.sampled_from(EDGES), max_size=20).map(bytes),
    st.tuples(st.integers(0, 40), st.lists(st.sampled_from(EDGES), max_size=5)).map(
        lambda each: b"a" * each[0] + bytes(each[1]) + b"b" * (each[0] // 2)
    ),
)
sizes = st.sampled_from([0, 1, 7, 8, 9, 125, 126, 127, 255, 65535, 65536, 65537])
payloads = st.one_of(texts, st.binary(max_size=200), sizes.map(lambda size: b"x" * size))
firsts = st.one_of(st.sampled_from([0x81, 0x82]), st.integers(0, 255))
frames = st.tuples(firsts, payloads, st.one_of(keys, st.just(b""))).map(
    lambda each: _python.encode(*each)
)
claims = st.tuples(
    firsts,
    st.sampled_from([126, 127, 254, 255]),
    st.one_of(
        st.binary(max_size=14),
        st.sampled_from([0, 125, 126, 65535, 65536, 1 << 62, (1 << 63) - 1, 1 << 63]).map(
            lambda size: size.to_bytes(8, "big") + b"key!and more"
        ),
    ),
).map(lambda each: bytes(each[:2]) + each[2])
buffers = st.lists(st.one_of(frames, claims, st.binary(max_size=20)), max_size=4).map(b"".join)
numbers = st.one_of(st.integers(0, 300), st.sampled_from([-1, 65535, 65536, 1 << 62, 1 << 70]))


def result(function: Any, *arguments: object) -> Any:
    """Return the result of a call, or its exception."""
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        return type(error)


def test_both_have_the_whole_contract(native: Any) -> None:
    for name in ("STOPPED", "PARTIAL", "FOREIGN"):
        assert getattr(native, name) == getattr(_python, name)
    assert set(CONTRACT) <= set(dir(native)) & set(dir(_python))


@examples(500)
@given(buffers, st.one_of(st.just(0), numbers), st.booleans(), numbers, numbers)
def test_both_decode_alike(
    native: Any, buffer: bytes, start: int, masked: bool, limit: int, most: int
) -> None:
    ours = result(native.decode, buffer, start, masked, limit, most)
    assert ours == result(_python.decode, buffer, start, masked, limit, most)
    if isinstance(ours, tuple):
        for payload, is_binary, end in ours[0]:
            assert (type(payload), type(is_binary), type(end)) == (bytes, bool, int)
    assert result(native.frame_size, buffer, start) == result(_python.frame_size, buffer, start)


@examples(300)
@given(st.integers(-1, 256), payloads, st.one_of(keys, st.binary(max_size=5)))
def test_both_encode_and_mask_alike(native: Any, first: int, payload: bytes, key: bytes) -> None:
    for kind in (bytes, bytearray):
        ours = result(native.encode, first, kind(payload), key)
        assert ours == result(_python.encode, first, kind(payload), key)
    assert result(native.mask, payload, key) == result(_python.mask, payload, key)


def seen(partial: Any) -> tuple[object, ...]:
    return partial.isBinary, partial.header_size, partial.valid, partial.whole, partial.payload


@examples(500)
@given(
    st.one_of(frames, claims, st.binary(max_size=20)),
    st.lists(st.one_of(st.integers(0, 9), st.integers(0, 70000)), max_size=30),
)
def test_both_put_a_frame_together_alike(native: Any, octets: bytes, cuts: list[int]) -> None:
    ours, theirs = result(native.PartialFrame, octets, 0), result(_python.PartialFrame, octets, 0)
    if isinstance(ours, type) or isinstance(theirs, type):
        assert ours == theirs
        return
    octets = octets[theirs.header_size :] + b"next"
    for cut in [*cuts, len(octets)]:
        assert seen(ours) == seen(theirs)
        # Elsewhere in a buffer it is the same as at its beginning.
        taken = theirs.feed(octets[:cut], 0)
        assert ours.feed(b"before" + octets[:cut], 6) == 6 + taken
        octets = octets[taken:]
        if not theirs.valid:
            break
    # What came of it with the octet that made it invalid is nobody's.
    assert seen(ours)[:-1] == seen(theirs)[:-1]
    assert ours.valid == theirs.valid
    if ours.valid:
        assert type(ours.payload) is bytes
        assert ours.payload == theirs.payload


@examples(300)
@given(st.lists(texts, max_size=3).map(b"".join))
def test_both_know_what_is_no_text_at_the_same_octet(native: Any, text: bytes) -> None:
    frame = _python.encode(0x81, text)
    ours, theirs = native.PartialFrame(frame, 0), _python.PartialFrame(frame, 0)
    for i in range(len(text)):
        for each in (ours, theirs):
            each.feed(text[: i + 1], i)
        assert ours.valid == theirs.valid
        if not ours.valid:
            return


def is_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_any_two_octets_begin_a_code_point_or_do_not_as_python_says(native: Any) -> None:
    endings = [bytes([0x80]) * more + b"and on" * 3 for more in range(3)]
    for first in range(0x80, 0x100):
        for second in range(0x100):
            for ending in endings:
                text = bytes((first, second)) + ending
                messages, _ = native.decode(bytes((0x81, len(text))) + text, 0, False, 0, 1)
                assert bool(messages) == is_text(text), text


def test_a_payload_is_handed_over_and_not_copied(native: Any) -> None:
    partial = native.PartialFrame(_python.encode(0x82, bytes(1000)), 0)
    partial.feed(bytes(600), 0)
    early = partial.payload
    partial.feed(bytes(600), 0)
    assert partial.payload is partial.payload
    assert early == bytes(600)
    assert partial.payload == bytes(1000)


odd = st.one_of(
    st.none(), st.text(max_size=3), st.floats(), numbers, st.binary(max_size=9), st.booleans()
)


@examples(300)
@given(st.lists(st.one_of(odd, frames), max_size=6), st.sampled_from([*CONTRACT, "mask", "feed"]))
def test_whatever_it_is_called_with_the_native_codec_raises_or_answers(
    native: Any, arguments: list[object], name: str
) -> None:
    feed = native.PartialFrame(b"\x81\x05", 0).feed
    function = feed if name == "feed" else getattr(native, name)
    if callable(function):
        answer = result(function, *arguments)
        # More is refused than in Python, where a str, say, has a length and octets' places too.
        if not isinstance(answer, type) and name != "feed":
            assert result(getattr(_python, name), *arguments) is not TypeError


@pytest.mark.parametrize("wrong", ["", bytearray(9), memoryview(bytes(9))])
def test_the_native_codec_reads_bytes_only(native: Any, wrong: object) -> None:
    for function, *others in ((native.decode, True, 0, 1), (native.frame_size,)):
        with pytest.raises(TypeError, match="bytes are required"):
            function(wrong, 0, *others)
