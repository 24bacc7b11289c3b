from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsservice.admin.exchange import AdminRequest, Answer
from wsservice.admin.publishing import (
    MOST_LINES,
    Publishing,
    answered,
    message_of,
    messages_of,
)
from wsservice.admin.queries import WrongError
from wsservice.channels.message import ChannelMessage
from wsservice.channels.outcome import Published
from wsservice.errors import NotPublishedError, UncertainError
from wsservice.net.gathering import Gathering


def asked(body: bytes, content_type: str | None = None) -> AdminRequest:
    headers = {} if content_type is None else {"content-type": (content_type,)}
    return AdminRequest("POST", "/publish/a", headers, body)


class TestMessage:
    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "text/plain",
            "text/plain; charset=utf-8",
            "application/x-www-form-urlencoded",
            "application/json",
            "nonsense",
            "application/octet-streams",
        ],
    )
    def test_text(self, content_type: str | None) -> None:
        assert message_of(asked("\u00e4".encode(), content_type)) == (b"\xc3\xa4", False)

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/octet-stream",
            "Application/Octet-Stream",
            "application/octet-stream; x=y",
            " application/octet-stream ",
        ],
    )
    def test_binary(self, content_type: str) -> None:
        assert message_of(asked(b"\xff", content_type)) == (b"\xff", True)

    def test_an_empty_one(self) -> None:
        assert message_of(asked(b"")) == (b"", False)

    def test_text_that_is_none(self) -> None:
        with pytest.raises(WrongError) as caught:
            message_of(asked(b"ab\xff"))
        assert str(caught.value) == (
            "the body is not UTF-8, from octet 3 on;"
            " give text, or Content-Type: application/octet-stream"
        )


class TestLines:
    def test_several(self) -> None:
        body = (
            b'{"channel": "a", "data": "\\u00e4"}\r\n'
            b'{"data64": "AP8=", "channel": "/b/c/"}\n'
            b"\n"
            b'{"channel": "", "data": ""}\n'
        )
        assert messages_of(body) == [
            ChannelMessage("a", "\u00e4".encode(), False),
            ChannelMessage("b/c", b"\0\xff", True),
            ChannelMessage("", b"", False),
        ]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"{", "is not JSON"),
            (b"\xff", "is not JSON"),
            (b"[" * 100_000, "is not JSON"),
            (b"[]", "is not an object"),
            (b"1", "is not an object"),
            (b"{}", "must have the members"),
            (b'{"channel": "a"}', "must have the members"),
            (b'{"data": "a"}', "must have the members"),
            (b'{"channel": "a", "data": "", "data64": ""}', "must have the members"),
            (b'{"channel": "a", "data": "", "more": ""}', "must have the members"),
            (b'{"channel": 1, "data": ""}', "has a member that is not a string"),
            (b'{"channel": "a", "data": null}', "has a member that is not a string"),
            (b'{"channel": "a", "data64": "A"}', "its data64 is not base64"),
            (b'{"channel": "a", "data64": "AA==!"}', "its data64 is not base64"),
            (b'{"channel": "a", "data64": "\\u00e4"}', "its data64 is not base64"),
            (b'{"channel": "a", "data": "\\ud800"}', "has text that is not valid Unicode"),
            (b'{"channel": "\\udfff", "data": ""}', "has text that is not valid Unicode"),
            (b'{"channel": "a\\n", "data": ""}', "its channel has a control character"),
            (b'{"channel": "%b", "data": ""}' % (b"a" * 256), "its channel has more than 255"),
        ],
    )
    def test_a_wrong_one_is_named(self, line: bytes, problem: str) -> None:
        right = b'{"channel": "a", "data": "b"}'
        with pytest.raises(WrongError) as caught:
            messages_of(b"\n".join([right, line, right]))
        assert str(caught.value).startswith(f"line 2: {problem}")
        assert '{"channel": "news", "data": "hello"}' in str(caught.value)

    @pytest.mark.parametrize("body", [b"", b"\n", b" \r\n"])
    def test_none(self, body: bytes) -> None:
        with pytest.raises(WrongError, match="there is no line"):
            messages_of(body)

    def test_too_many(self) -> None:
        line = b'{"channel": "a", "data": "b"}\n'
        assert len(messages_of(line * MOST_LINES)) == MOST_LINES
        with pytest.raises(WrongError, match=f"give at most {MOST_LINES}"):
            messages_of(line * (MOST_LINES + 1))


class Place:
    """A slow destination of messages."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gathering = Gathering()
        self.delivered: list[tuple[ChannelMessage, bool]] = []
        self.delivery: Deferred[Published] = succeed(Published(2, 1))
        #: What each is answered, in their order, before those that have `delivery`.
        self.outcomes: list[Published | Exception] = []
        self.takes = 0.0
        self.publishing = Publishing(self.deliver, self.gathering.together, self.clock)

    def deliver(self, message: ChannelMessage) -> Deferred[Published]:
        self.delivered.append((message, self.gathering.under_way))
        if self.takes:
            self.clock.rightNow += self.takes
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, ValueError):
                raise outcome
            return fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)
        return self.delivery

    def run(self, coroutine: Any) -> list[Answer]:
        outcome: list[Answer] = []
        Deferred.fromCoroutine(coroutine).addCallback(outcome.append)
        return outcome


def said(answer: Answer) -> tuple[int, Any]:
    return answer.status, json.loads(answer.body)


def test_one_message() -> None:
    place = Place()
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a%20b/c/"))
    assert place.delivered == [(ChannelMessage("a b/c", b"hi", False), False)]
    assert said(answer) == (200, {"handed": 2, "dropped": 1})


@pytest.mark.parametrize("path", ["/" + "a" * 256, "/" + "%C3%A9" * 128])
def test_none_to_a_channel_that_nobody_can_be_on(path: str) -> None:
    place = Place()
    failed: list[Any] = []
    asking = Deferred.fromCoroutine(place.publishing.one(asked(b"hi"), path))
    asking.addErrback(failed.append)
    assert failed[0].check(WrongError)
    assert "the channel has more than 255 octets" in str(failed[0].value)
    assert place.delivered == []
    place.run(place.publishing.one(asked(b"hi"), "/" + "%C3%A9" * 127))
    assert place.delivered[0][0].channel == "\u00e9" * 127


def test_many_leave_together_and_are_added_up() -> None:
    place = Place()
    body = b'{"channel": "a", "data": "1"}\n{"channel": "b", "data": "2"}'
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert place.delivered == [
        (ChannelMessage("a", b"1", False), True),
        (ChannelMessage("b", b"2", False), True),
    ]
    assert not place.gathering.under_way
    assert said(answer) == (200, {"messages": 2, "handed": 4, "dropped": 2})


def test_of_very_many_the_others_have_their_turn_between() -> None:
    place = Place()
    place.takes = 0.004
    body = b'{"channel": "a", "data": "1"}\n' * 7
    outcome = place.run(place.publishing.many(asked(body)))
    assert len(place.delivered) == 3
    assert not place.gathering.under_way
    place.clock.advance(0)
    assert said(outcome[0])[1]["messages"] == len(place.delivered) == 7


def test_nothing_is_published_where_a_line_is_wrong() -> None:
    place = Place()
    with pytest.raises(WrongError):
        place.publishing.many(asked(b'{"channel": "a", "data": "1"}\n{')).send(None)
    assert place.delivered == []


def test_what_is_still_on_its_way_is_answered_with_202() -> None:
    place = Place()
    place.delivery = Deferred()
    outcome = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert outcome == []
    place.delivery.callback(Published(5, 0, complete=False))
    assert said(outcome[0]) == (202, {"handed": 5, "dropped": 0})


def test_a_sum_is_whole_where_all_of_it_is() -> None:
    assert Published(1, 2).plus(Published(3, 4)) == Published(4, 6, True)
    assert Published(1, 2).plus(Published(0, 0, complete=False)) == Published(1, 2, False)
    assert said(answered(Published(1, 2), messages=3)) == (
        200,
        {"messages": 3, "handed": 1, "dropped": 2},
    )


AWAY, UNCERTAIN = NotPublishedError("published to nobody"), UncertainError("not known")


def test_what_was_published_to_nobody_may_be_tried_again() -> None:
    place = Place()
    place.outcomes = [AWAY]
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert said(answer) == (503, {"error": "published to nobody"})
    assert ("Retry-After", "1") in answer.headers


def test_and_what_may_have_been_published_may_not() -> None:
    place = Place()
    place.outcomes = [UNCERTAIN]
    (answer,) = place.run(place.publishing.one(asked(b"hi"), "/a"))
    assert said(answer) == (504, {"error": "not known"})
    assert "Retry-After" not in dict(answer.headers)


def test_what_cannot_be_published_is_wrong() -> None:
    place = Place()
    place.outcomes = [ValueError("too large")] * 2
    with pytest.raises(WrongError, match="the message cannot be published: too large"):
        place.publishing.one(asked(b"hi"), "/a").send(None)
    with pytest.raises(WrongError, match="the message cannot be published: too large"):
        place.publishing.many(asked(b'{"channel": "a", "data": "1"}')).send(None)


def test_of_many_that_reach_nobody_all_may_be_tried_again() -> None:
    place = Place()
    place.outcomes = [AWAY, AWAY]
    body = b'{"channel": "a", "data": "1"}\n' * 2
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert (answer.status, ("Retry-After", "1") in answer.headers) == (503, True)


def test_of_many_it_is_said_how_many_were_published_and_what_was_not_tried_is_not() -> None:
    place = Place()
    place.takes = 0.004
    place.outcomes = [Published(1, 0), UNCERTAIN, AWAY]
    body = b'{"channel": "a", "data": "1"}\n' * 7
    (answer,) = place.run(place.publishing.many(asked(body)))
    assert len(place.delivered) == 3
    assert said(answer) == (
        504,
        {
            "error": "of 7 messages 1 were published, and of 1 it is not known; not known",
            "messages": 7,
            "published": 1,
            "uncertain": 1,
        },
    )


def test_how_many_nodes_have_it_is_said_where_nodes_meet() -> None:
    delivery = Published(1, 0, False, 3)
    assert said(answered(delivery)) == (202, {"handed": 1, "dropped": 0, "nodes": 3})
    assert delivery.plus(Published(1, 0, True, 2)) == Published(2, 0, False, 3)
    assert Published(0, 0).plus(Published(1, 0, True, 0)).nodes == 0
    assert delivery.plus(Published(0, 0)).nodes == 3
