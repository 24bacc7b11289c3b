from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.channels.envelopes import (
    Envelope,
    EnvelopeError,
    Opened,
    SharedFrames,
    enveloped,
    of_gap,
    of_joining,
    of_message,
    opened,
)
from wsservice.channels.message import ChannelMessage
from wsservice.channels.query import Position
from wsservice.protocol.sending import PreparedMessage

NASTY = 'a"b\\c\n\x00\x7f\u2028é😀'
PLACE = Position(3, "e.1")


def test_text_is_text() -> None:
    assert json.loads(of_message("news", NASTY.encode(), False, 1.5)) == {
        "channel": "news",
        "data": NASTY,
        "time": 1.5,
    }


def test_binary_is_base64() -> None:
    assert json.loads(of_message("news", b"\xff\x00", True, 1.5, PLACE)) == {
        "channel": "news",
        "offset": 3,
        "epoch": "e.1",
        "data64": "/wA=",
        "time": 1.5,
    }


def test_time_has_milliseconds() -> None:
    assert b'"time":1732492800.123}' in of_message("a", b"", False, 1732492800.1234)


def test_text_that_is_none_has_marks_in_its_place() -> None:
    assert json.loads(of_message("a", b"\xffx", False, 0))["data"] == "\ufffdx"


def test_what_was_kept_has_its_place_and_time() -> None:
    frames = SharedFrames(ChannelMessage("a", b"x", True, 2.0, 3, "e.1"))
    assert frames.envelope.payload == of_message("a", b"x", True, 2.0, PLACE)
    assert frames.plain == PreparedMessage(b"x", True).plain


def test_joining_and_gaps_tell_a_place() -> None:
    place = {"channel": "a", "offset": 3, "epoch": "e.1"}
    assert json.loads(of_joining("a", PLACE)) == {**place, "joined": True}
    assert json.loads(of_gap("a", PLACE)) == {**place, "gap": True}
    assert json.loads(of_gap("a", None)) == {"channel": "a", "gap": True}


class TestPrepared:
    def test_a_published_message_is_put_into_an_envelope_once(self) -> None:
        message = SharedFrames(ChannelMessage("a", b"x", True, 2.0, PLACE.offset, PLACE.epoch))
        assert (message.payload, message.isBinary) == (b"x", True)
        first = enveloped(message, "elsewhere", 9.0)
        assert first is enveloped(message, "elsewhere", 9.0)
        assert first.payload == of_message("a", b"x", True, 2.0, PLACE)
        assert not first.isBinary

    def test_another_is_of_the_channel_of_who_sends_it(self) -> None:
        message = enveloped(PreparedMessage(b"x", True, doNotCompress=True), "a", 9.0)
        assert message.payload == of_message("a", b"x", True, 9.0)
        assert message.doNotCompress

    def test_an_envelope_stays_as_it_is(self) -> None:
        message = Envelope(b"{}")
        assert enveloped(message, "a", 9.0) is message


class TestOpening:
    @given(st.text(max_size=20), st.text(max_size=20), st.booleans())
    def test_what_was_put_in_comes_out(self, channel: str, text: str, placed: bool) -> None:
        channel = channel.encode(errors="replace").decode()
        payload = text.encode(errors="replace")
        position = PLACE if placed else None
        assert opened(of_message(channel, payload, False, 1, position)) == Opened(
            channel, payload, False, position, 1
        )

    @given(st.binary(max_size=20))
    def test_octets_too(self, payload: bytes) -> None:
        assert opened(of_message("a", payload, True, 1)) == Opened("a", payload, True, None, 1)

    def test_places_too(self) -> None:
        assert opened(of_joining("a", PLACE)) == Opened("a", position=PLACE)
        assert opened(of_gap("a", PLACE)) == Opened("a", position=PLACE, gap=True)
        assert opened(of_gap("a", None)) == Opened("a", gap=True)

    def test_members_of_later_servers_are_passed_over(self) -> None:
        assert opened(b'{"channel":"a","data":"x","who":[1]}') == Opened("a", b"x")
        assert opened(b'{"channel":"a","left":true}') == Opened("a")

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"x",
            b"\xff",
            b"[]",
            b"{}",
            b"1",
            b"null",
            b'{"channel":1}',
            b'{"channel":"a","data":1}',
            b'{"channel":"a","data":"\\ud800"}',
            b'{"channel":"a","data64":"?"}',
            b'{"channel":"a","data64":"YQ"}',
            b'{"channel":"a","data64":"\xc3\xa9"}',
            b'{"channel":"a","offset":1}',
            b'{"channel":"a","offset":"1","epoch":"e"}',
            b'{"channel":"a","offset":true,"epoch":"e"}',
            b'{"channel":"a","offset":-1,"epoch":"e"}',
            b'{"channel":"a","offset":9007199254740992,"epoch":"e"}',
            b'{"channel":"a","offset":1,"epoch":1}',
            b'{"channel":"a","offset":1,"epoch":"\\ud800"}',
            b'{"channel":"a","time":"now"}',
            b'{"channel":"a","time":true}',
            b"[" * 100_000,
            b'{"channel":"a","offset":' + b"1" * 5000 + b"}",
        ],
    )
    def test_what_is_none_is_an_error_and_only_one(self, text: bytes) -> None:
        with pytest.raises(EnvelopeError, match=r"^no envelope of wsservice\.v1$"):
            opened(text)
